/**
 * JSON Schema as far as our files use it: filling in defaults, and everything that is wrong.
 *
 * The parts are those of `SchemaPart`; another keyword would be passed over, so a new one belongs
 * here first. Errors are as a JSON Schema validator gives them: keyword, place, parameters. What
 * that means for an operator is said in schema-findings.ts.
 */

/** The parts of a JSON Schema that ours uses. */
export interface SchemaPart {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly SchemaPart[]
  readonly properties?: Readonly<Record<string, SchemaPart>>
  readonly patternProperties?: Readonly<Record<string, SchemaPart>>
  readonly additionalProperties?: boolean
  readonly required?: readonly string[]
  readonly items?: SchemaPart
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly pattern?: string
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
}

export interface SchemaError {
  readonly keyword: string
  /** JSON pointer to the faulty place. */
  readonly instancePath: string
  /** Names of `additionalProperties` and `required`. */
  readonly names: readonly string[]
  readonly message: string
}

/**
 * The document with defaults in the places that are absent, those inside defaults and lists too, but
 * not inside maps with free keys or unions. Changes `value`.
 */
export function withDefaults(part: SchemaPart, value: unknown): unknown {
  const filled = value === undefined ? structuredClone(part.default) : value
  if (isRecord(filled)) {
    for (const [name, inner] of Object.entries(part.properties ?? {})) {
      const given = withDefaults(inner, filled[name])
      if (given !== undefined) filled[name] = given
    }
  } else if (Array.isArray(filled) && part.items !== undefined) {
    const { items } = part
    filled.forEach((item, index) => {
      filled[index] = withDefaults(items, item)
    })
  }
  return filled
}

/** What is wrong with `value`, at most `limit` errors; empty when nothing is. */
export function schemaErrors(part: SchemaPart, value: unknown, limit: number): SchemaError[] {
  const errors: SchemaError[] = []
  check(part, value, '', (error) => {
    if (errors.length < limit) errors.push(error)
    return errors.length < limit
  })
  return errors
}

/** Takes an error; false when it wants no more. */
type Report = (error: SchemaError) => boolean

function check(part: SchemaPart, value: unknown, instancePath: string, report: Report): void {
  const say = (keyword: string, message: string, names: readonly string[] = []): boolean =>
    report({ keyword, instancePath, names, message })
  if (part.anyOf !== undefined) {
    if (!part.anyOf.some((one) => isValid(one, value))) say('anyOf', 'must match a schema in anyOf')
    return
  }
  if (part.enum !== undefined) {
    if (!part.enum.includes(value)) say('enum', 'must be equal to one of the allowed values')
    return
  }
  if (part.type !== undefined && !hasType(part.type, value)) {
    say('type', `must be ${part.type}`)
    return
  }
  if (part.const !== undefined && part.const !== value) say('const', 'must be equal to constant')
  if (typeof value === 'number') checkNumber(part, value, say)
  else if (typeof value === 'string') checkString(part, value, say)
  else if (Array.isArray(value)) checkList(part, value, instancePath, say, report)
  else if (isRecord(value)) checkRecord(part, value, instancePath, say, report)
}

type Say = (keyword: string, message: string, names?: readonly string[]) => boolean

function checkNumber({ minimum, maximum }: SchemaPart, value: number, say: Say): void {
  if (minimum !== undefined && value < minimum) say('minimum', `must be >= ${minimum}`)
  if (maximum !== undefined && value > maximum) say('maximum', `must be <= ${maximum}`)
}

function checkString({ minLength, pattern }: SchemaPart, value: string, say: Say): void {
  if (minLength !== undefined && value.length < minLength)
    say('minLength', `must not have fewer than ${minLength} characters`)
  if (pattern !== undefined && !new RegExp(pattern, 'u').test(value))
    say('pattern', `must match pattern "${pattern}"`)
}

function checkList(
  { items, minItems, maxItems, uniqueItems }: SchemaPart,
  value: readonly unknown[],
  instancePath: string,
  say: Say,
  report: Report,
): void {
  if (minItems !== undefined && value.length < minItems)
    say('minItems', `must not have fewer than ${minItems} items`)
  if (maxItems !== undefined && value.length > maxItems)
    say('maxItems', `must not have more than ${maxItems} items`)
  if (uniqueItems && new Set(value.map((item) => JSON.stringify(item))).size < value.length)
    say('uniqueItems', 'must not have duplicate items')
  if (items === undefined) return
  let goesOn = true
  const counted: Report = (error) => {
    goesOn = report(error)
    return goesOn
  }
  for (let index = 0; index < value.length && goesOn; index += 1)
    check(items, value[index], `${instancePath}/${index}`, counted)
}

function checkRecord(
  part: SchemaPart,
  value: Readonly<Record<string, unknown>>,
  instancePath: string,
  say: Say,
  report: Report,
): void {
  const missing = (part.required ?? []).filter((name) => !Object.hasOwn(value, name))
  if (missing.length > 0)
    say('required', `must have required properties ${missing.join(', ')}`, missing)
  const patterns = Object.entries(part.patternProperties ?? {})
  const unknown: string[] = []
  for (const [name, inner] of Object.entries(value)) {
    const own = Object.hasOwn(part.properties ?? {}, name) ? part.properties?.[name] : undefined
    const free = patterns.find(([pattern]) => new RegExp(pattern, 'u').test(name))?.[1]
    const known = own ?? free
    if (known !== undefined) check(known, inner, `${instancePath}/${escaped(name)}`, report)
    else if (part.additionalProperties === false) unknown.push(name)
  }
  if (unknown.length > 0)
    say('additionalProperties', 'must not have additional properties', unknown)
}

function isValid(part: SchemaPart, value: unknown): boolean {
  return schemaErrors(part, value, 1).length === 0
}

function hasType(type: string, value: unknown): boolean {
  switch (type) {
    case 'object':
      return isRecord(value)
    case 'array':
      return Array.isArray(value)
    case 'integer':
      return Number.isInteger(value)
    case 'number':
      return Number.isFinite(value)
    case 'null':
      return value === null
    default:
      return typeof value === type
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
