/**
 * Reads small XML documents that others wrote: text in, a tree out, or one sentence about what is
 * wrong. Namespaces are resolved, so that prefixes mean what the document says they mean.
 *
 * A strict subset of XML 1.0, our choice because domain XML and OVF envelopes need no more and what
 * is not understood cannot be abused: no document type, no entities but the five predefined and
 * character references, bounded in length, depth, elements and attributes. It fetches nothing.
 */

export interface XmlElement {
  readonly name: string
  /** Empty when the element is in none. */
  readonly namespace: string
  /** Local name → value; of prefixed attributes `{namespace}local`. */
  readonly attributes: ReadonlyMap<string, string>
  readonly children: readonly XmlElement[]
  /** Own text and CDATA, not that of children. */
  readonly text: string
}

export type XmlResult =
  | { readonly ok: true; readonly root: XmlElement }
  | { readonly ok: false; readonly problem: string }

/** Longer documents are refused unread. */
export const MAXIMUM_XML_CHARACTERS = 1 << 20
const MAXIMUM_XML_DEPTH = 64
const MAXIMUM_XML_ELEMENTS = 20_000
const MAXIMUM_XML_ATTRIBUTES = 64

/** Reads a whole document. Never throws; reads each character a bounded number of times. */
export function readXml(text: string): XmlResult {
  if (text.length > MAXIMUM_XML_CHARACTERS)
    return { ok: false, problem: `longer than ${MAXIMUM_XML_CHARACTERS} characters` }
  try {
    return { ok: true, root: readDocument(text) }
  } catch (cause) {
    if (cause instanceof XmlError) return { ok: false, problem: cause.message }
    throw cause
  }
}

/** The children of `element` with this name and namespace (any namespace when it is undefined). */
export function childrenOf(
  element: XmlElement,
  name: string,
  namespace?: string,
): readonly XmlElement[] {
  return element.children.filter(
    (child) => child.name === name && (namespace === undefined || child.namespace === namespace),
  )
}

class XmlError extends Error {
  override name = 'XmlError'
}

interface Open {
  readonly qualified: string
  readonly name: string
  readonly namespace: string
  readonly attributes: ReadonlyMap<string, string>
  readonly children: XmlElement[]
  readonly scope: ReadonlyMap<string, string>
  text: string
}

function readDocument(text: string): XmlElement {
  const open: Open[] = []
  let root: XmlElement | undefined
  let elements = 0
  let at = text.startsWith('\ufeff') ? 1 : 0
  while (at < text.length) {
    const next = text.indexOf('<', at)
    addText(open, text.slice(at, next < 0 ? text.length : next), at)
    if (next < 0) break
    if (text.startsWith('<!--', next)) at = after(text, '-->', next + 4)
    else if (text.startsWith('<?', next)) at = after(text, '?>', next + 2)
    else if (text.startsWith('<![CDATA[', next)) {
      at = after(text, ']]>', next + 9)
      const inner = open.at(-1)
      if (inner === undefined) throw wrong('text outside the root', next)
      inner.text += text.slice(next + 9, at - 3)
    } else if (text.startsWith('<!', next)) throw wrong('a document type or entity', next)
    else if (text.startsWith('</', next)) {
      at = after(text, '>', next + 2)
      const element = close(open, text.slice(next + 2, at - 1).trimEnd(), next)
      if (open.length === 0) root = element
    } else {
      if (root !== undefined) throw wrong('a second root', next)
      if (++elements > MAXIMUM_XML_ELEMENTS) throw wrong('too many elements', next)
      const tag = readTag(text, next, open.at(-1)?.scope ?? TOP_SCOPE)
      at = tag.end
      open.push(tag.open)
      if (open.length > MAXIMUM_XML_DEPTH) throw wrong('too deep', next)
      if (tag.empty) {
        const element = close(open, tag.open.qualified, next)
        if (open.length === 0) root = element
      }
    }
  }
  if (open.length > 0) throw wrong(`<${open.at(-1)!.qualified}> is not closed`, text.length)
  if (root === undefined) throw wrong('no element', 0)
  return root
}

function readTag(
  text: string,
  start: number,
  outer: ReadonlyMap<string, string>,
): { open: Open; end: number; empty: boolean } {
  NAME.lastIndex = start + 1
  const qualified = NAME.exec(text)?.[0]
  if (qualified === undefined) throw wrong('a tag without a name', start)
  let at = NAME.lastIndex
  const raw = new Map<string, string>()
  for (;;) {
    ATTRIBUTE.lastIndex = at
    const match = ATTRIBUTE.exec(text)
    if (match === null) break
    const [whole, name = '', single, double] = match
    if (raw.has(name)) throw wrong(`attribute ${name} twice`, at)
    if (raw.size >= MAXIMUM_XML_ATTRIBUTES) throw wrong('too many attributes', at)
    raw.set(name, decode(single ?? double ?? '', at))
    at += whole.length
  }
  TAG_END.lastIndex = at
  const end = TAG_END.exec(text)
  if (end === null) throw wrong(`<${qualified.slice(0, 40)}> is malformed`, start)
  let scope = outer
  for (const [name, value] of raw) {
    if (name !== 'xmlns' && !name.startsWith('xmlns:')) continue
    if (scope === outer) scope = new Map(outer)
    // Each element has a copy of its own: what is in scope is bounded as well.
    if (scope.size >= MAXIMUM_XML_ATTRIBUTES) throw wrong('too many namespaces', start)
    ;(scope as Map<string, string>).set(name === 'xmlns' ? '' : name.slice(6), value)
  }
  const { namespace, local } = resolve(qualified, scope, '', start)
  const attributes = new Map<string, string>()
  for (const [name, value] of raw) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue
    const own = name.includes(':') ? resolve(name, scope, '', start) : undefined
    attributes.set(own === undefined ? name : `{${own.namespace}}${own.local}`, value)
  }
  const open: Open = {
    qualified,
    name: local,
    namespace,
    attributes,
    children: [],
    scope,
    text: '',
  }
  return { open, end: at + end[0].length, empty: end[0].endsWith('/>') }
}

function resolve(
  qualified: string,
  scope: ReadonlyMap<string, string>,
  none: string,
  at: number,
): { namespace: string; local: string } {
  const colon = qualified.indexOf(':')
  if (colon < 0) return { namespace: scope.get('') ?? none, local: qualified }
  const namespace = scope.get(qualified.slice(0, colon))
  if (namespace === undefined)
    throw wrong(`prefix of ${qualified.slice(0, 40)} is not declared`, at)
  return { namespace, local: qualified.slice(colon + 1) }
}

function close(open: Open[], qualified: string, at: number): XmlElement {
  const innermost = open.pop()
  if (innermost?.qualified !== qualified) {
    throw wrong(`</${qualified.slice(0, 40)}> closes <${innermost?.qualified ?? ''}>`, at)
  }
  const { name, namespace, attributes, children, text } = innermost
  const element: XmlElement = { name, namespace, attributes, children, text }
  open.at(-1)?.children.push(element)
  return element
}

function addText(open: readonly Open[], raw: string, at: number): void {
  const inner = open.at(-1)
  if (inner !== undefined) inner.text += decode(raw, at)
  else if (raw.trim() !== '') throw wrong('text outside the root', at)
}

/** Character references and the five predefined entities; anything else is an error. */
function decode(raw: string, at: number): string {
  if (!raw.includes('&')) return raw
  return raw.replace(/&([^;&\s]{0,12});?/g, (whole, name: string) => {
    const known = whole.endsWith(';') ? PREDEFINED[name] : undefined
    if (known !== undefined) return known
    const number = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name)
    const code = number?.[1] ? Number.parseInt(number[1], 16) : Number(number?.[2] ?? Number.NaN)
    if (whole.endsWith(';') && code > 0 && code <= 0x10ffff) return String.fromCodePoint(code)
    throw wrong(`the entity ${whole.slice(0, 20)}`, at)
  })
}

function after(text: string, end: string, from: number): number {
  const found = text.indexOf(end, from)
  if (found < 0) throw wrong(`no "${end}"`, from)
  return found + end.length
}

function wrong(problem: string, at: number): XmlError {
  return new XmlError(`${problem} (character ${at})`)
}

const NAME = /[A-Za-z_][\w.-]{0,200}(?::[A-Za-z_][\w.-]{0,200})?/y
const ATTRIBUTE = /\s+([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)\s*=\s*(?:'([^'<]*)'|"([^"<]*)")/y
const TAG_END = /\s*\/?>/y
const TOP_SCOPE: ReadonlyMap<string, string> = new Map([
  ['xml', 'http://www.w3.org/XML/1998/namespace'],
])
const PREDEFINED: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
}
