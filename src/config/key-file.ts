/**
 * Keys for looking at captures: a YAML list of what `keys` of a site and `key` of a Map-Server are
 * in a configuration, where the secret may also stand in the list itself.
 *
 *   - {id: 1, secretFile: /etc/godwit/clouds.key}
 *   - {id: 2, algorithm: hmac-sha-256-128, secret: only for tests}
 *
 * All errors come at once, as those of a configuration do. A secret never appears in one.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseDocument } from 'yaml'
import type { AlgorithmId, AuthenticationKey } from '../lisp/authentication.js'
import { validateKeyFile } from './compiled-validators.js'
import { type ConfigError, formatConfigPath } from './config-error.js'
import { KeyFileSchema } from './key-file-schema.js'
import { ALGORITHMS } from './key-schema.js'
import { readSecretFile, reasonOf } from './load.js'
import { schemaFindings } from './schema-findings.js'
import type { ReadSecret } from './secrets.js'

export type KeyFileResult =
  | { readonly ok: true; readonly keys: readonly AuthenticationKey[] }
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

/** Reads and checks the file at `path`. Relative secret files start at its directory. */
export function loadKeyFile(path: string): KeyFileResult {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const problem = `cannot be read: ${reasonOf(cause)}`
    return { ok: false, errors: [{ path: '', problem, hint: 'check path and permissions' }] }
  }
  const directory = dirname(resolve(path))
  return parseKeyFile(text, (file) => readSecretFile(resolve(directory, file)))
}

/** Checks a key file given as text; `readSecret` gets the paths as written. */
export function parseKeyFile(text: string, readSecret: ReadSecret): KeyFileResult {
  const document = parseDocument(text, { uniqueKeys: true })
  const [syntax] = document.errors
  if (syntax !== undefined) {
    return failed('', `is not valid YAML: ${syntax.message.split('\n')[0]}`, EXAMPLE)
  }
  let list: unknown
  try {
    list = document.toJS({ maxAliasCount: 0 })
  } catch (cause) {
    return failed('', reasonOf(cause), 'write the values out')
  }
  if (!Array.isArray(list)) return failed('', 'is not a list of keys', EXAMPLE)
  const filled = { keys: list }
  const findings = schemaFindings({ schema: KeyFileSchema, validate: validateKeyFile }, filled)
  if (findings.length > 0) {
    const errors = findings.map(({ keys, problem, hint }) => {
      return { path: formatConfigPath(keys), problem, hint }
    })
    return { ok: false, errors }
  }
  const errors: ConfigError[] = []
  const keys = (filled as KeyFile).keys.flatMap((entry, index) => {
    const secret = secretOf(entry, readSecret)
    if (typeof secret !== 'string') return [keyOf(entry, secret)]
    const hint = 'give either secretFile or secret'
    errors.push({ path: `keys[${index}]`, problem: secret, hint })
    return []
  })
  return errors.length > 0 ? { ok: false, errors } : { ok: true, keys }
}

interface KeyEntry {
  readonly id: number
  readonly algorithm: (typeof ALGORITHMS)[number]
  readonly secretFile?: string
  readonly secret?: string
}

interface KeyFile {
  readonly keys: readonly KeyEntry[]
}

const EXAMPLE = 'as: - {id: 1, algorithm: hmac-sha256-128+hkdf, secretFile: clouds.key}'

function failed(path: string, problem: string, hint: string): KeyFileResult {
  return { ok: false, errors: [{ path, problem, hint }] }
}

/** The secret, or what is wrong. */
function secretOf(entry: KeyEntry, readSecret: ReadSecret): Uint8Array | string {
  const { secret, secretFile } = entry
  if (secret !== undefined && secretFile !== undefined) return 'has both secretFile and secret'
  if (secret !== undefined) return new TextEncoder().encode(secret)
  if (secretFile === undefined) return 'has no secret'
  const file = readSecret(secretFile)
  if (!file.ok) return `${secretFile} ${file.problem}`
  // White space around it does not count, as in a configuration.
  const text = file.text.trim()
  return text === '' ? `${secretFile} is empty` : new TextEncoder().encode(text)
}

function keyOf({ id, algorithm }: KeyEntry, secret: Uint8Array): AuthenticationKey {
  // Listed in the order of their IANA numbers, from 1 (RFC 9301 §12.5).
  const number = (ALGORITHMS.indexOf(algorithm) + 1) as AlgorithmId
  return { keyId: id, algorithm: number, secret }
}
