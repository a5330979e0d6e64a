import { useEffect, useRef } from 'react';

/** Whether keys typed into this element belong to it. */
export function isEditable(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(?:input|textarea|select)$/i.test(target.tagName))
  );
}

/** Whether a dialog or menu is open, which then has the keyboard. */
function insideOverlay(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('[role="dialog"],[role="menu"],[role="listbox"]') !== null;
}

/**
 * Single keys for the page. Only the keys in the map are taken, never with
 * Ctrl, Alt or Meta, never while text is being written, never from an open
 * dialog or menu. A handler that returns false leaves the key alone.
 */
export function useKeys(map: Record<string, (event: KeyboardEvent) => boolean | void>): void {
  const current = useRef(map);
  useEffect(() => {
    current.current = map;
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
      const target = event.composedPath()[0] ?? event.target;
      if (isEditable(target) || insideOverlay(event.target)) return;
      const handler = Object.hasOwn(current.current, event.key) ? current.current[event.key] : undefined;
      if (handler && handler(event) !== false) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}
