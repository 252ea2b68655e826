/**
 * The way from a YAML file to a configuration that cannot be wrong.
 *
 * YAML → schema with defaults → cross checks → the core's view. All errors come back at once, each
 * with path, line, problem and hint; nothing throws for what an operator typed. Reloading uses the
 * same functions. What the keys mean is in schema.ts; what the core gets, in node-config.ts.
 */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Document, isNode, LineCounter, parseDocument } from 'yaml'
import { validateConfig } from './compiled-validators.js'
import { type ConfigError, type Finding, formatConfigPath } from './config-error.js'
import { crossChecks } from './cross-checks.js'
import { makeNodeConfig } from './make-node-config.js'
import type { NodeConfig } from './node-config.js'
import { type Config, ConfigSchema } from './schema.js'
import { MAXIMUM_FINDINGS, repairDocument, schemaFindings } from './schema-findings.js'
import { type ReadSecret, readSecrets, type SecretFile } from './secrets.js'

export type ConfigResult =
  | {
      readonly ok: true
      readonly config: Config
      readonly nodeConfig: NodeConfig
      readonly warnings: readonly ConfigError[]
    }
  | {
      readonly ok: false
      readonly errors: readonly ConfigError[]
      readonly warnings: readonly ConfigError[]
    }

/** Reads and checks the file at `path`. Relative secret files start at its directory. */
export function loadConfig(path: string): ConfigResult {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    return failed([
      {
        path: '',
        problem: `cannot be read: ${reasonOf(cause)}`,
        hint: 'check path and permissions',
      },
    ])
  }
  const directory = dirname(resolve(path))
  const result = parseConfig(text, (file) => readSecretFile(resolve(directory, file)))
  if (result.ok) return { ...result, config: withAbsoluteTls(result.config, directory) }
  return result
}

/** Checks a configuration given as YAML text; `readSecret` gets the paths as written. */
export function parseConfig(text: string, readSecret: ReadSecret): ConfigResult {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  if (document.errors.length > 0) return failed(yamlErrors(document))
  let raw: unknown
  try {
    raw = document.toJS({ maxAliasCount: MAXIMUM_ALIASES })
  } catch (cause) {
    return failed([{ path: '', problem: reasonOf(cause), hint: 'write the values out' }])
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    const hint = 'start with node:, roles: and rlocs:; docs/configuration.md has examples'
    return failed([{ path: '', problem: 'is not a map of keys', hint }])
  }
  const locate = (finding: Finding): ConfigError => located(finding, document, lines)
  const findings = distinct(schemaFindings(CHECKED, raw))
  if (findings.length >= MAXIMUM_FINDINGS) return failed(findings.map(locate))
  const repaired = repairDocument(ConfigSchema, raw, findings)
  // What was put in the place of something faulty has defaults of its own.
  if (findings.length > 0) validateConfig(repaired)
  const config = repaired as Config
  const secrets = readSecrets(config, readSecret)
  const broken = findings.map(({ keys }) => keys)
  const checks = crossChecks(config, secrets, broken)
  const errors = [...findings, ...checks.errors].map(locate)
  const warnings = checks.warnings.map(locate)
  if (errors.length > 0) return { ok: false, errors, warnings }
  return { ok: true, config, nodeConfig: makeNodeConfig(config, secrets), warnings }
}

function failed(errors: readonly ConfigError[]): ConfigResult {
  return { ok: false, errors, warnings: [] }
}

function yamlErrors(document: Document): ConfigError[] {
  return document.errors.map((error) => ({
    path: '',
    // The first line says it; the rest of the message draws the source.
    problem: `is not valid YAML: ${error.message.split('\n')[0]}`,
    hint: error.code === 'DUPLICATE_KEY' ? 'write each key once' : 'check indentation and quotes',
    ...(error.linePos === undefined ? {} : { line: error.linePos[0].line }),
  }))
}

/** The validator may object twice to one place (type and range); the first says enough. */
function distinct(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>()
  return findings.filter(({ keys }) => {
    const path = formatConfigPath(keys)
    return !seen.has(path) && seen.add(path)
  })
}

function located(finding: Finding, document: Document, lines: LineCounter): ConfigError {
  const path = formatConfigPath(finding.keys)
  const { problem, hint } = finding
  // A missing key has no place of its own; the map it should be in has.
  for (let length = finding.keys.length; length > 0; length--) {
    const node = document.getIn(finding.keys.slice(0, length), true)
    if (isNode(node) && node.range) {
      return { path, problem, hint, line: lines.linePos(node.range[0]).line }
    }
  }
  return { path, problem, hint }
}

/** What is in a secret file; a problem, not an exception, when it cannot be had. */
export function readSecretFile(path: string): SecretFile {
  try {
    const status = statSync(path)
    if (!status.isFile()) return { ok: false, problem: 'is not a file' }
    if (status.size > MAXIMUM_SECRET_BYTES) return { ok: false, problem: 'is too large' }
    const worldReadable = (status.mode & 0o004) !== 0
    return { ok: true, text: readFileSync(path, 'utf8'), worldReadable }
  } catch (cause) {
    return { ok: false, problem: `cannot be read: ${reasonOf(cause)}` }
  }
}

/** The API reads its TLS files later, perhaps from another working directory. */
function withAbsoluteTls(config: Config, directory: string): Config {
  const { tcp } = config.api
  if (tcp?.tls === undefined) return config
  const { certificateFile, keyFile, clientCaFile } = tcp.tls
  const tls = {
    certificateFile: resolve(directory, certificateFile),
    keyFile: resolve(directory, keyFile),
    ...(clientCaFile === undefined ? {} : { clientCaFile: resolve(directory, clientCaFile) }),
  }
  return { ...config, api: { ...config.api, tcp: { ...tcp, tls } } }
}

/** An operating system's refusal in words. */
export function reasonOf(cause: unknown): string {
  const code = (cause as { code?: string }).code
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EACCES') return 'permission denied'
  return cause instanceof Error ? cause.message : String(cause)
}

const CHECKED = { schema: ConfigSchema, validate: validateConfig }

/** YAML aliases multiply; nobody needs more of them in one file. */
const MAXIMUM_ALIASES = 100

/** A certificate chain fits, a disk image given by mistake does not. */
const MAXIMUM_SECRET_BYTES = 1 << 20
