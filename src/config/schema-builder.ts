/**
 * Builds the schemas of our files: TypeBox's own functions in type, plain JSON Schema in value.
 *
 * Importing TypeBox loads 680 modules and takes a third of a second of each start (measured). Of
 * its builder our files and the API need these few functions, whose results are plain objects
 * anyway; types are still inferred by TypeBox (`Static`, the type provider of the API).
 */
import type { Type as TypeBox } from 'typebox'

type Builder = Pick<
  typeof TypeBox,
  | 'Array'
  | 'Boolean'
  | 'Enum'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Record'
  | 'String'
  | 'Union'
  | 'Unknown'
>

type Part = Readonly<Record<string, unknown>>

/** Marks parts that may be absent; not enumerable, so that it is in no document. */
const OPTIONAL = Symbol('optional')

const builder = {
  Array: (items: Part, about?: Part) => ({ type: 'array', items, ...about }),
  Boolean: (about?: Part) => ({ type: 'boolean', ...about }),
  Enum: (words: readonly string[], about?: Part) => ({ enum: [...words], ...about }),
  Integer: (about?: Part) => ({ type: 'integer', ...about }),
  Literal: (value: string | number | boolean) => ({ type: typeof value, const: value }),
  Null: () => ({ type: 'null' }),
  Number: (about?: Part) => ({ type: 'number', ...about }),
  Object(properties: Readonly<Record<string, Part>>, about?: Part) {
    const names = Object.keys(properties)
    const required = names.filter((name) => !Object.hasOwn(properties[name]!, OPTIONAL))
    return {
      type: 'object',
      ...(required.length === 0 ? {} : { required }),
      properties,
      ...about,
    }
  },
  Optional: (part: Part) => Object.defineProperty({ ...part }, OPTIONAL, { value: true }),
  Record: (key: Part, value: Part, about?: Part) => ({
    type: 'object',
    patternProperties: { [String(key['pattern'] ?? '^.*$')]: value },
    ...about,
  }),
  String: (about?: Part) => ({ type: 'string', ...about }),
  Union: (anyOf: readonly Part[], about?: Part) => ({ anyOf: [...anyOf], ...about }),
  Unknown: () => ({}),
}

// TypeBox's types carry what our plain values leave out (`~kind`), and nobody reads at run time.
export const Type = builder as unknown as Builder
