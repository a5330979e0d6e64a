import { useMutation, useQueryClient, type QueryKey } from '@tanstack/react-query';

/** Something that is done once when it is asked for, after which lists are read again. */
export function useAct<In, Out>(act: (input: In) => Promise<Out>, then: { stale?: readonly QueryKey[]; done?: (out: Out, input: In) => void } = {}) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: act,
    networkMode: 'always',
    onSuccess: async (out, input) => {
      await Promise.all((then.stale ?? []).map((queryKey) => client.invalidateQueries({ queryKey })));
      then.done?.(out, input);
    },
  });
}
