/**
 * What this program knows of JSON Schema: the parts that our schemas use, and the shape of a
 * validator compiled from one.
 *
 * Validators are compiled when the program is built (scripts/compile-validators.ts), so a daemon
 * loads neither a compiler nor a schema library. What their errors mean for an operator is said in
 * schema-findings.ts. Nothing here validates.
 */

/** The parts of a JSON Schema that ours use. */
export interface SchemaPart {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly SchemaPart[]
  readonly properties?: Readonly<Record<string, SchemaPart>>
  readonly patternProperties?: Readonly<Record<string, object>>
  readonly additionalProperties?: boolean | object
  readonly required?: readonly string[] | undefined
  readonly items?: SchemaPart
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly pattern?: string | RegExp
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
}

/** One violation, as JSON Schema validators commonly tell it. */
export interface SchemaError {
  readonly keyword: string
  /** JSON pointer to the faulty place. */
  readonly instancePath: string
  /** Where in the schema the rule stands; a branch of a union has `/anyOf/` in it. */
  readonly schemaPath: string
  readonly params: Readonly<Record<string, unknown>>
  readonly message?: string
}

/**
 * True when `document` fits; else `errors` holds all violations until the next call. Puts defaults
 * into the places that are absent (not inside unions), those inside lists and maps too.
 */
export interface Validate {
  (document: unknown): boolean
  readonly errors?: readonly SchemaError[] | null
}
