/**
 * Disables one statement of a source text, by a fragment that stands in it exactly once:
 *
 * - the condition of an `if` becomes false; a fragment that is itself a whole condition or an operand
 *   of && or || becomes the value that makes it without effect; a filter lets everything pass,
 * - a statement that only acts is removed, a `return` returns nothing,
 * - a declared number becomes 0 (0 becomes 1), another declared value becomes undefined,
 * - a property of an object literal is turned over when boolean, else undefined.
 *
 * In C, a fragment that ends in || or && is the operand before it.
 *
 * TypeScript is read by its own parser, C by matching brackets outside comments and strings.
 */
import type { Node, SourceFile } from 'typescript/unstable/ast'
import { SyntaxKind } from 'typescript/unstable/ast'
import {
  isArrowFunction,
  isBinaryExpression,
  isCallExpression,
  isConditionalExpression,
  isIfStatement,
  isPropertyAssignment,
  isVariableDeclaration,
  isWhileStatement,
} from 'typescript/unstable/ast/is'
import { API } from 'typescript/unstable/sync'

export interface Disabled {
  readonly text: string
  /** What was done, in one line. */
  readonly how: string
}

export interface TypeScriptReader {
  read(file: string): SourceFile | undefined
  close(): void
}

/** Opens the project of tsconfig.json under `root`; about a second, once. */
export function openProject(root: string): TypeScriptReader {
  const api = new API({ cwd: root })
  const project = `${root}/tsconfig.json`
  const snapshot = api.updateSnapshot({ openProjects: [project] })
  const program = snapshot.getProject(project)?.program
  return {
    read: (file) => program?.getSourceFile(`${root}/${file}`),
    close: () => api.close(),
  }
}

export interface Span {
  readonly start: number
  readonly end: number
}

/**
 * Where the fragment is; a sentence when it is not there exactly once. Of `context … target` the
 * context must be there once, and the target is the first one behind it.
 */
export function locate(text: string, fragment: string): Span | string {
  const [context = '', target] = fragment.split(' … ')
  const at = text.indexOf(context)
  if (context === '' || at === -1) return 'the fragment is not there'
  if (text.indexOf(context, at + 1) !== -1) return 'the fragment is there more than once'
  if (target === undefined) return trimmed(text, at, at + context.length)
  const start = text.indexOf(target, at + context.length)
  if (target === '' || start === -1) return 'the fragment is not there'
  return trimmed(text, start, start + target.length)
}

/** A sentence when there is nothing that can be disabled. */
export function disableTypeScript(source: SourceFile, fragment: string): Disabled | string {
  const text = source.text
  const span = locate(text, fragment)
  if (typeof span === 'string') return span
  const chain: Node[] = [] // from the file down to the smallest node around the fragment
  const visit = (node: Node): void => {
    if (node.getStart(source) > span.start || node.end < span.end) return
    chain.push(node)
    node.forEachChild(visit)
  }
  source.forEachChild(visit)
  const replace = (node: Node, by: string, how: string): Disabled => ({
    text: text.slice(0, node.getStart(source)) + by + text.slice(node.end),
    how,
  })
  for (let index = chain.length - 1; index >= 0; index--) {
    const node = chain[index]
    if (!node) continue
    const exact = node.getStart(source) === span.start && node.end === span.end
    const neutral = exact ? neutralValue(node, chain[index - 1], chain[index - 2]) : undefined
    if (neutral)
      return replace(node, neutral, `${oneLine(text.slice(span.start, span.end))} is ${neutral}`)
    const done = disableNode(node, source, replace)
    if (done) return done
  }
  return 'the fragment is in no statement'
}

/** The smallest nodes that can be disabled as a whole; undefined for all others. */
function disableNode(
  node: Node,
  source: SourceFile,
  replace: (node: Node, by: string, how: string) => Disabled,
): Disabled | undefined {
  const name = oneLine(node.getText(source))
  if (isIfStatement(node) || isWhileStatement(node)) {
    const condition = node.expression
    return replace(
      condition,
      'false as boolean',
      `if (${oneLine(condition.getText(source))}) never holds`,
    )
  }
  if (isVariableDeclaration(node) || isPropertyAssignment(node)) {
    const value = node.initializer
    if (value === undefined) return undefined
    const by = otherValue(value)
    return replace(value, by, `${oneLine(node.getText(source))} is ${by}`)
  }
  if (isArrowFunction(node)) {
    if (node.body.kind === SyntaxKind.Block) return undefined
    return replace(node.body, '(undefined as never)', `gives nothing: ${name}`)
  }
  switch (node.kind) {
    case SyntaxKind.ExpressionStatement:
    case SyntaxKind.ForOfStatement:
    case SyntaxKind.ForStatement:
    case SyntaxKind.ThrowStatement:
    case SyntaxKind.BreakStatement:
    case SyntaxKind.ContinueStatement:
      return replace(node, ';', `without: ${name}`)
    case SyntaxKind.ReturnStatement:
      return replace(node, 'return undefined as never', `returns nothing: ${name}`)
    case SyntaxKind.SpreadAssignment:
    case SyntaxKind.SpreadElement:
      return replace(
        node,
        node.kind === SyntaxKind.SpreadElement ? '...[]' : '...{}',
        `without: ${name}`,
      )
    case SyntaxKind.ShorthandPropertyAssignment:
      return replace(node, `${name}: undefined as never`, `${name} is undefined`)
    default:
      return undefined
  }
}

/** What replaces a condition so that it has no effect where it stands; undefined for no condition. */
function neutralValue(node: Node, parent?: Node, grandparent?: Node): string | undefined {
  if (!parent) return undefined
  if (parent.kind === SyntaxKind.ParenthesizedExpression)
    return neutralValue(parent, grandparent) ?? undefined
  if (isBinaryExpression(parent)) {
    const operator = parent.operatorToken.kind
    if (operator === SyntaxKind.AmpersandAmpersandToken) return 'true'
    if (operator === SyntaxKind.BarBarToken) return 'false'
  }
  if (isConditionalExpression(parent) && parent.condition === node) return 'false'
  if (isArrowFunction(parent) && parent.body === node) {
    if (grandparent === undefined || !isCallExpression(grandparent)) return undefined
    const called = /\.(filter|every|find|some)$/.exec(grandparent.expression.getText())?.[1]
    return called === undefined ? undefined : called === 'some' ? 'false' : 'true'
  }
  return undefined
}

function otherValue(value: Node): string {
  if (value.kind === SyntaxKind.TrueKeyword) return 'false'
  if (value.kind === SyntaxKind.FalseKeyword) return 'true'
  if (value.kind === SyntaxKind.NumericLiteral)
    return Number(value.getText().replaceAll('_', '')) === 0 ? '1' : '0'
  if (value.kind === SyntaxKind.BigIntLiteral) return value.getText() === '0n' ? '1n' : '0n'
  // A named number put together from others.
  if (value.kind === SyntaxKind.BinaryExpression && /^[\d_ .*+/-]+$/.test(value.getText()))
    return '0'
  return '(undefined as never)'
}

/** `if (…)` around the fragment becomes `if (0)`; any other statement is removed. */
export function disableC(text: string, fragment: string): Disabled | string {
  const inside = locate(text, fragment)
  if (typeof inside === 'string') return inside
  const at = inside.start
  const code = blanked(text)
  const operand = text.slice(inside.start, inside.end)
  const operator = /^(?!if\b)(.+?)\s*(\|\||&&)$/s.exec(operand)
  if (operator) {
    // Still mentioned, so that no compiler complains of a function that nobody calls.
    const neutral = operator[2] === '&&' ? `(1 || ${operator[1]}) &&` : `(0 && ${operator[1]}) ||`
    const how = `${oneLine(operator[1] ?? '')} is ${operator[2] === '&&' ? 1 : 0}`
    return { text: text.slice(0, inside.start) + neutral + text.slice(inside.end), how }
  }
  for (const match of code.matchAll(/\bif\s*\(/g)) {
    const open = match.index + match[0].length - 1
    const close = closing(code, open)
    if (match.index > inside.start || close < inside.start) continue
    return {
      text: `${text.slice(0, open)}(0)${text.slice(close + 1)}`,
      how: `if ${oneLine(text.slice(open, close + 1))} never holds`,
    }
  }
  const define = /^[ \t]*#define\s+\w+\s+(\d+)/m.exec(text.slice(text.lastIndexOf('\n', at) + 1))
  if (define?.index === 0 && text.slice(0, at).split('\n').pop()?.trim() === '')
    return {
      text: text.replace(define[0], define[0].replace(/\d+$/, define[1] === '0' ? '1' : '0')),
      how: `${oneLine(define[0])} is ${define[1] === '0' ? '1' : '0'}`,
    }
  let start = inside.start
  while (start > 0 && !/[;{}]/.test(code[start - 1] ?? '')) start -= 1
  const end = code.indexOf(';', inside.start)
  if (end === -1) return 'the fragment is in no statement'
  const indent = /^\s*/.exec(text.slice(start))?.[0].length ?? 0
  const statement = text.slice(start + indent, end)
  const by = statement.startsWith('return') ? 'return 0' : ''
  return {
    text: text.slice(0, start + indent) + by + text.slice(end),
    how: `without: ${oneLine(statement)}`,
  }
}

function closing(code: string, open: number): number {
  let depth = 0
  for (let index = open; index < code.length; index++) {
    if (code[index] === '(') depth += 1
    if (code[index] === ')' && --depth === 0) return index
  }
  return code.length
}

/** The same length, with comments and literals as spaces. */
function blanked(text: string): string {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g,
    (part) => part.replace(/[^\n]/g, ' '),
  )
}

function trimmed(text: string, from: number, to: number): Span {
  let start = from
  let end = to
  while (start < end && /\s/.test(text[start] ?? '')) start += 1
  while (end > start && /\s/.test(text[end - 1] ?? '')) end -= 1
  return { start, end }
}

function oneLine(text: string): string {
  const flat = text.replace(/\s+/g, ' ')
  return flat.length > 70 ? `${flat.slice(0, 67)}...` : flat
}
