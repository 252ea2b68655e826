/**
 * What the schema says against a document, in words for an operator.
 *
 * The validator reports keywords and JSON pointers; this file turns each into one finding with a
 * hint (the nearest valid key, the range, the allowed words), and can repair a document far enough
 * that the cross checks can still run on the rest of it: an operator sees all errors in one go.
 */
import type { ConfigKeys, Finding } from './config-error.js'
import type { SchemaError, SchemaPart, Validate } from './json-schema.js'

/** A schema and what was compiled from it. */
export interface CheckedSchema {
  readonly schema: SchemaPart
  readonly validate: Validate
}

/**
 * All findings of the schema against `document`, at most `MAXIMUM_FINDINGS`. Fills in defaults:
 * `document` changes.
 */
export function schemaFindings(checked: CheckedSchema, document: unknown): Finding[] {
  const { schema, validate } = checked
  if (validate(document)) return []
  return (
    (validate.errors ?? [])
      // Of a union it is said that no branch fits, not why each does not.
      .filter(({ schemaPath }) => !schemaPath.includes('/anyOf/'))
      .slice(0, MAXIMUM_FINDINGS)
      .map((error) => translate(schema, document, error))
  )
}

/** A copy of `document` whose faulty places hold something of the right type. */
export function repairDocument(
  schema: SchemaPart,
  document: unknown,
  findings: readonly Finding[],
): unknown {
  let copy = structuredClone(document)
  for (const { keys } of findings) {
    const part = schemaAt(schema, keys)
    if (keys.length === 0) {
      copy = sampleOf(schema)
      continue
    }
    const parent = valueAt(copy, keys.slice(0, -1))
    if (typeof parent !== 'object' || parent === null) continue
    const key = keys.at(-1)!
    if (part === undefined) Reflect.deleteProperty(parent, key)
    else Reflect.set(parent, key, sampleOf(part))
  }
  return copy
}

/** The schema of the place that `keys` lead to, or undefined when there is no such key. */
function schemaAt(schema: SchemaPart, keys: ConfigKeys): SchemaPart | undefined {
  return keys.reduce<SchemaPart | undefined>(
    (part, key) => (typeof key === 'number' ? part?.items : part?.properties?.[key]),
    schema,
  )
}

/** The allowed words of a union of literals, or undefined when the part is no such union. */
export function wordsOf(part: SchemaPart): readonly string[] | undefined {
  if (part.enum !== undefined) return part.enum.map(String)
  const words = part.anyOf?.map((option) => option.const)
  return words?.every((word) => typeof word === 'string') ? (words as string[]) : undefined
}

/** "integer, 1 to 255" or "one of: a, b": the type of a part for people. */
export function describeType(part: SchemaPart): string {
  const words = wordsOf(part)
  if (words !== undefined) return `one of: ${words.join(', ')}`
  const { minimum, maximum, pattern } = part
  if (pattern !== undefined) return `${part.type} matching \`${pattern}\``
  if (minimum !== undefined && maximum !== undefined) {
    return `${part.type}, ${minimum} to ${maximum}`
  }
  if (minimum !== undefined) return `${part.type}, at least ${minimum}`
  if (part.type === 'array' && part.items !== undefined) {
    const least = part.minItems === undefined ? '' : `, at least ${part.minItems}`
    return `list of ${wordsOf(part.items) === undefined ? `${part.items.type}s` : 'words'}${least}`
  }
  return part.type ?? 'value'
}

function translate(schema: SchemaPart, document: unknown, error: SchemaError): Finding {
  const keys = keysOf(document, error.instancePath)
  const part = schemaAt(schema, keys) ?? {}
  const value = valueAt(document, keys)
  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(error.params['additionalProperty'])
      const hint = keyHint(name, Object.keys(part.properties ?? {}))
      return { keys: [...keys, name], problem: 'unknown key', hint }
    }
    case 'required': {
      const name = String(error.params['missingProperty'])
      const hint = leafHint(part.properties?.[name] ?? {})
      return { keys: [...keys, name], problem: 'missing', hint }
    }
    case 'type':
      return { keys, problem: typeProblem(part, value), hint: typeHint(part, value) }
    case 'anyOf':
    case 'enum': {
      const near = nearest(String(value), wordsOf(part) ?? [])
      const guess = near === undefined ? '' : `did you mean ${near}? `
      return { keys, problem: `${printed(value)} is not allowed`, hint: guess + leafHint(part) }
    }
    case 'uniqueItems':
      return { keys, problem: 'has an item twice', hint: 'name each once' }
    case 'minItems':
      return { keys, problem: 'is empty', hint: leafHint(part) }
    default:
      return { keys, problem: `${printed(value)} ${error.message}`, hint: leafHint(part) }
  }
}

function typeProblem(part: SchemaPart, value: unknown): string {
  if (value === null || value === undefined) return 'has no value'
  return `${printed(value)} is not of type ${part.type ?? 'given in the schema'}`
}

function typeHint(part: SchemaPart, value: unknown): string {
  const scalar = typeof value === 'number' || typeof value === 'boolean'
  if (part.type === 'string' && scalar) return `put it in quotes: '${value}'; ${leafHint(part)}`
  if (part.type === 'array' && value !== null) return `write a list, "- …"; ${leafHint(part)}`
  return leafHint(part)
}

function leafHint(part: SchemaPart): string {
  const type = describeType(part)
  return part.description === undefined ? type : `${type} (${part.description})`
}

function keyHint(name: string, valid: readonly string[]): string {
  const near = nearest(name, valid)
  return near === undefined ? `valid here: ${valid.join(', ')}` : `did you mean ${near}?`
}

/** The candidate closest to `word` by edit distance, if it is close enough to be meant. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const limit = Math.max(2, Math.floor(word.length / 3))
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .filter(({ distance }) => distance <= limit)
    .sort((left, right) => left.distance - right.distance)
  return ranked[0]?.candidate
}

function editDistance(left: string, right: string): number {
  const a = left.slice(0, 64).toLowerCase()
  const b = right.slice(0, 64).toLowerCase()
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

function printed(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/** A JSON pointer as keys; a number is an index only where the document has a list. */
function keysOf(document: unknown, pointer: string): (string | number)[] {
  const keys: (string | number)[] = []
  for (const step of pointer.split('/').slice(1)) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~')
    keys.push(Array.isArray(valueAt(document, keys)) ? Number(name) : name)
  }
  return keys
}

function valueAt(document: unknown, keys: ConfigKeys): unknown {
  return keys.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined,
    document,
  )
}

function sampleOf(part: SchemaPart): unknown {
  if (part.default !== undefined && part.type !== 'object') return structuredClone(part.default)
  if (part.const !== undefined) return part.const
  if (part.anyOf !== undefined) return sampleOf(part.anyOf[0]!)
  switch (part.type) {
    case 'object':
      return Object.fromEntries(
        (part.required ?? []).map((name) => [name, sampleOf(part.properties?.[name] ?? {})]),
      )
    case 'array':
      return []
    case 'integer':
    case 'number':
      return part.minimum ?? 0
    case 'boolean':
      return false
    default:
      return ''
  }
}

/** More than anybody reads; bounds the work on a hostile or wholly misplaced file. */
export const MAXIMUM_FINDINGS = 500
