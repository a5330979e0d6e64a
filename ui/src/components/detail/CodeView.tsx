import { json } from '@codemirror/lang-json';
import { xml } from '@codemirror/lang-xml';
import { codeFolding, foldGutter, foldKeymap, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { EditorState, type Extension } from '@codemirror/state';
import { drawSelection, EditorView, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { codeOf, hiddenPattern } from '../../lib/visible';

export type Language = 'json' | 'xml' | 'text';

const highlight = HighlightStyle.define([
  { tag: [tags.propertyName, tags.attributeName], color: 'var(--redirect)' },
  { tag: [tags.string, tags.attributeValue], color: 'var(--ok)' },
  { tag: [tags.number, tags.tagName], color: 'var(--accent)' },
  { tag: [tags.bool, tags.null, tags.processingInstruction, tags.documentMeta], color: 'var(--private)' },
  { tag: [tags.comment, tags.angleBracket, tags.punctuation], color: 'var(--muted)' },
  { tag: tags.invalid, color: 'var(--bad)' },
]);

const theme = EditorView.theme({
  '&': { height: '100%', fontSize: '12px', backgroundColor: 'transparent', color: 'var(--text)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--font-data)', lineHeight: '18px' },
  '.cm-content': { padding: '0 0 8px' },
  '.cm-gutters': { backgroundColor: 'transparent', color: 'var(--muted)', border: 'none', paddingLeft: '8px' },
  '.cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground': {
    backgroundColor: 'color-mix(in srgb, var(--accent) 30%, transparent)',
  },
  '.cm-panels': { backgroundColor: 'var(--raised)', color: 'var(--text)', borderColor: 'var(--line)' },
  '.cm-panels-top': { borderBottom: '1px solid var(--line)' },
  '.cm-textfield': { border: '1px solid var(--line)', borderRadius: '4px', backgroundColor: 'var(--bg)', color: 'var(--text)' },
  '.cm-button': { border: '1px solid var(--line)', borderRadius: '4px', backgroundImage: 'none', backgroundColor: 'var(--surface)', color: 'var(--text)' },
  '.cm-searchMatch': { backgroundColor: 'color-mix(in srgb, var(--attention) 35%, transparent)' },
  '.cm-searchMatch-selected': { backgroundColor: 'color-mix(in srgb, var(--attention) 65%, transparent)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--raised)', border: '1px solid var(--line)', color: 'var(--muted)' },
  '.cm-specialChar': { color: 'var(--attention)' },
});

const languages: Readonly<Record<Language, () => Extension>> = {
  json: () => json(),
  xml: () => xml(),
  text: () => [],
};

/** What is invisible elsewhere in the viewer is not visible here either, unless it is written as its code. */
const showHidden = highlightSpecialChars({
  addSpecialChars: hiddenPattern,
  render: (code, description) => {
    const mark = document.createElement('span');
    mark.className = 'cm-specialChar';
    mark.textContent = codeOf(String.fromCodePoint(code));
    mark.title = description ?? '';
    return mark;
  },
});

/**
 * Text to read: numbered, folded, searched (Ctrl-F), never changed. It lives
 * in a shadow root: there the editor's styles are constructed sheets, which
 * the content security policy allows, where style elements are not.
 */
export default function CodeView({ text, language, label }: { text: string; language: Language; label: string }) {
  const holder = useRef<HTMLDivElement>(null);
  const dark = useComputedColorScheme('light') === 'dark';
  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const shadow = element.shadowRoot ?? element.attachShadow({ mode: 'open' });
    const view = new EditorView({
      root: shadow,
      parent: shadow,
      state: EditorState.create({
        doc: text,
        extensions: [
          EditorState.readOnly.of(true),
          EditorView.editable.of(false),
          EditorView.contentAttributes.of({ tabindex: '0', 'aria-label': label, 'aria-readonly': 'true' }),
          lineNumbers(),
          codeFolding(),
          foldGutter(),
          drawSelection(),
          showHidden,
          highlightSelectionMatches(),
          search({ top: true }),
          keymap.of([...searchKeymap, ...foldKeymap]),
          EditorView.lineWrapping,
          syntaxHighlighting(highlight),
          EditorView.theme({}, { dark }),
          theme,
          languages[language](),
        ],
      }),
    });
    return () => view.destroy();
  }, [text, language, label, dark]);
  return <div ref={holder} style={{ position: 'absolute', inset: 0 }} />;
}
