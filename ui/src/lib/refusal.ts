import { Problem } from '../api/client';
import type { QueryMistake } from '../api/types';

/** How to read a refusal of the query bar: mistakes with places, or one sentence. */
export function refusalOf(error: Error | null): { mistakes: QueryMistake[]; refusal: string | null } {
  if (!(error instanceof Problem)) return { mistakes: [], refusal: null };
  if (error.isQuery) return { mistakes: error.mistakes, refusal: error.mistakes.length > 0 ? null : error.message };
  return { mistakes: [], refusal: error.message };
}
