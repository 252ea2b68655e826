/**
 * Which daemon a command talks to: `--url`, `--socket`, `--node`, `GODWIT_SOCKET`, else the only
 * socket there is.
 */
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliFailure } from './failure.js'

export type Target =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'url'; readonly url: URL; readonly tls: TlsFiles }

/** Contents of PEM files; what is absent is the system's choice, or nothing. */
export interface TlsFiles {
  /** Whom to believe about the daemon. */
  readonly ca?: Buffer
  /** Who we are. */
  readonly cert?: Buffer
  readonly key?: Buffer
}

export interface TargetOptions {
  readonly socket?: string
  readonly url?: string
  readonly node?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/**
 * Daemons of a running lab are found by node name too; `GODWIT_SOCKET` is what `godwit lab exec`
 * sets. Throws a `CliFailure` when nothing is chosen and there is not exactly one socket.
 */
export function chooseTarget(
  options: TargetOptions,
  directory = SOCKET_DIRECTORY,
  environment: NodeJS.ProcessEnv = process.env,
): Target {
  if (options.url !== undefined) {
    const url = readUrl(options.url)
    return { kind: 'url', url, tls: readTlsFiles(url, options) }
  }
  refuseTls(options, 'without --url')
  if (options.socket !== undefined) return { kind: 'socket', path: options.socket }
  if (options.node !== undefined) return namedNode(options.node, directory)
  const given = environment['GODWIT_SOCKET'] ?? ''
  if (given !== '') return { kind: 'socket', path: given }
  const own = listSockets(directory)
  const found = own.length > 0 ? own : labSockets(directory)
  const [only] = found
  if (only !== undefined && found.length === 1) return { kind: 'socket', path: only.path }
  if (only === undefined) {
    throw new CliFailure(
      `no daemon has a socket in ${directory}`,
      'start one with "godwitd run CONFIG", or name its socket with --socket PATH',
    )
  }
  const nodes = [...new Set(found.map(({ node }) => node))].join(', ')
  throw new CliFailure(`several daemons run here: ${nodes}`, 'choose one with --node NAME')
}

/** The daemon of that name, else the only one of that name in a lab. */
function namedNode(node: string, directory: string): Target {
  const path = join(directory, `${node}.sock`)
  const inLabs = labSockets(directory).filter((one) => one.node === node)
  if (inLabs.length === 0 || listSockets(directory).some((one) => one.node === node)) {
    return { kind: 'socket', path }
  }
  if (inLabs.length === 1) return { kind: 'socket', path: inLabs[0]!.path }
  const paths = inLabs.map((one) => one.path).join(', ')
  throw new CliFailure(
    `several topologies have a ${node}: ${paths}`,
    'choose one with --socket PATH, or use "godwit lab exec --topology NAME"',
  )
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw new CliFailure(`"${text}" is not a URL`, 'as --url http://127.0.0.1:8642', 2)
}

function readTlsFiles(url: URL, options: TargetOptions): TlsFiles {
  if (url.protocol === 'http:') {
    refuseTls(options, 'with an http URL')
    return {}
  }
  const { cert, key } = options
  if ((cert === undefined) !== (key === undefined)) {
    throw new CliFailure('--cert and --key belong together', 'give both, or neither', 2)
  }
  const files = TLS_OPTIONS.flatMap((name) => {
    const path = options[name]
    return path === undefined ? [] : [[name, readPem(name, path)] as const]
  })
  return Object.fromEntries(files)
}

function refuseTls(options: TargetOptions, where: string): void {
  const given = TLS_OPTIONS.find((name) => options[name] !== undefined)
  if (given === undefined) return
  throw new CliFailure(`--${given} means nothing ${where}`, 'as --url https://cloud-a:8642', 2)
}

function readPem(name: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    const { message } = cause as Error
    throw new CliFailure(`--${name} ${path} cannot be read: ${message}`, undefined, 2)
  }
}

const TLS_OPTIONS = ['ca', 'cert', 'key'] as const

interface FoundSocket {
  readonly node: string
  readonly path: string
}

function listSockets(directory: string): FoundSocket[] {
  return entriesOf(directory)
    .filter((name) => name.endsWith('.sock'))
    .map((name) => ({ node: name.slice(0, -'.sock'.length), path: join(directory, name) }))
    .filter(({ path }) => lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true)
}

function labSockets(directory: string): FoundSocket[] {
  const labs = join(directory, 'lab')
  return entriesOf(labs).flatMap((topology) => listSockets(join(labs, topology)))
}

/** The sockets of all daemons of a running lab; throws a `CliFailure` when it has none. */
export function socketsOfLab(topology: string, directory = SOCKET_DIRECTORY): FoundSocket[] {
  const found = listSockets(join(directory, 'lab', topology))
  if (found.length > 0) return found
  throw new CliFailure(`no lab "${topology}" runs here`, 'see "godwit lab list"', 1)
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    // A missing, closed or no directory has no socket for us; the caller says so.
    return []
  }
}

const SOCKET_DIRECTORY = '/run/godwit'
