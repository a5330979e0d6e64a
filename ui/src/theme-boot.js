// Runs before the first paint, as a classic script of its own because the
// content security policy allows none in the page: it puts the chosen colour
// scheme on the document, so that nothing flashes in the wrong one.
(function () {
  var stored = null;
  try {
    stored = window.localStorage.getItem('weir.theme');
  } catch {
    // Storage may be forbidden; the system's scheme is right then.
  }
  var dark =
    stored === 'dark' ||
    (stored !== 'light' && window.matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light');
})();
