/**
 * Which daemon a command talks to: `--url`, `--socket`, `--node`, else the only socket there is.
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

/** Throws a `CliFailure` when nothing is chosen and there is not exactly one socket. */
export function chooseTarget(options: TargetOptions, directory = SOCKET_DIRECTORY): Target {
  if (options.url !== undefined) {
    const url = readUrl(options.url)
    return { kind: 'url', url, tls: readTlsFiles(url, options) }
  }
  refuseTls(options, 'without --url')
  if (options.socket !== undefined) return { kind: 'socket', path: options.socket }
  if (options.node !== undefined) {
    return { kind: 'socket', path: join(directory, `${options.node}.sock`) }
  }
  const sockets = listSockets(directory)
  if (sockets.length === 1) return { kind: 'socket', path: join(directory, sockets[0]!) }
  if (sockets.length === 0) {
    throw new CliFailure(
      `no daemon has a socket in ${directory}`,
      'start one with "godwitd run CONFIG", or name its socket with --socket PATH',
    )
  }
  const nodes = sockets.map((name) => name.replace(/\.sock$/, '')).join(', ')
  throw new CliFailure(`several daemons run here: ${nodes}`, 'choose one with --node NAME')
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

function listSockets(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.sock'))
      .filter((name) => lstatSync(join(directory, name)).isSocket())
      .sort()
  } catch {
    // A missing or closed directory has no socket for us; the caller says so.
    return []
  }
}

const SOCKET_DIRECTORY = '/run/godwit'
