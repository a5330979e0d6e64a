/** Copies text; false where the browser refuses. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** The way that also works where the clipboard API is not offered: plain HTTP beyond loopback. */
function copyBySelection(text: string): boolean {
  const area = document.createElement('textarea');
  area.value = text;
  area.style.position = 'fixed';
  area.style.opacity = '0';
  document.body.append(area);
  area.select();
  let done = false;
  try {
    // Deprecated, and the only call there is without a secure context.
    done = document.execCommand('copy');
  } catch {
    done = false;
  }
  area.remove();
  return done;
}
