/**
 * Where the API listens: a Unix socket for this host's operators, TCP only when configured.
 *
 * The socket has mode 0660 from its first moment; a stale one is removed only when nobody answers
 * on it. Plain TCP is for loopback; anything else needs TLS (checked again here, whatever the
 * configuration check said). On plain TCP a foreign Host header is refused, since a browser could
 * be led to 127.0.0.1 under another name.
 */
import { chmodSync, lstatSync, mkdirSync, readFileSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { createConnection, Socket } from 'node:net'
import { dirname } from 'node:path'
import { TLSSocket } from 'node:tls'
import { isLoopbackText } from '../config/address-text.js'
import type { Config } from '../config/schema.js'

export interface Listener {
  /** `unix:/run/godwit/a.sock`, `http://127.0.0.1:8642`. */
  readonly address: string
  close(): Promise<void>
}

/** The socket of a node whose configuration names none. */
export function defaultSocketPath(node: string): string {
  return `/run/godwit/${node}.sock`
}

/**
 * Throws when something answers on `path` already, or when a file of another kind is there.
 * `patienceMs`: for receiving a whole request.
 */
export async function listenOnSocket(
  path: string,
  handler: RequestListener,
  patienceMs = REQUEST_TIMEOUT_MS,
): Promise<Listener> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
  await removeStaleSocket(path)
  const server = configured(createServer(checkedEvery(patienceMs), handler), patienceMs)
  // The bind happens inside listen(), so nobody sees the socket with a wider mode.
  const umask = process.umask(0o117)
  try {
    const listening = started(server)
    server.listen({ path })
    process.umask(umask)
    await listening
  } finally {
    process.umask(umask)
  }
  chmodSync(path, 0o660)
  return { address: `unix:${path}`, close: () => closed(server) }
}

/** Throws for a non-loopback address without TLS, or for unreadable TLS files. */
export async function listenOnTcp(
  tcp: NonNullable<Config['api']['tcp']>,
  handler: RequestListener,
): Promise<Listener> {
  if (tcp.tls === undefined && !isLoopbackText(tcp.address)) {
    throw new Error(`api.tcp.address ${tcp.address} is not loopback and there is no api.tcp.tls`)
  }
  const server = configured(
    tcp.tls === undefined
      ? createServer(checkedEvery(REQUEST_TIMEOUT_MS), handler)
      : createTlsServer(
          {
            ...checkedEvery(REQUEST_TIMEOUT_MS),
            cert: readFileSync(tcp.tls.certificateFile),
            key: readFileSync(tcp.tls.keyFile),
            minVersion: 'TLSv1.2',
            ...(tcp.tls.clientCaFile === undefined
              ? {}
              : {
                  ca: readFileSync(tcp.tls.clientCaFile),
                  requestCert: true,
                  rejectUnauthorized: true,
                }),
          },
          handler,
        ),
  )
  const listening = started(server)
  server.listen({ host: tcp.address, port: tcp.port })
  await listening
  const host = tcp.address.includes(':') ? `[${tcp.address}]` : tcp.address
  const scheme = tcp.tls === undefined ? 'http' : 'https'
  return { address: `${scheme}://${host}:${tcp.port}`, close: () => closed(server) }
}

/** Is this Host header one under which a loopback listener may be addressed? */
function isLocalHost(header: string | undefined): boolean {
  const host = (header ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return host === 'localhost' || isLoopbackText(host)
}

/** A request over plain TCP whose Host is not this host: perhaps a browser that was led here. */
export function isForeignHost({ socket, headers }: IncomingMessage): boolean {
  const isPlainTcp =
    socket instanceof Socket && !(socket instanceof TLSSocket) && socket.localPort !== undefined
  return isPlainTcp && !isLocalHost(headers.host)
}

/** Node looks for late requests every 30 s by default: a slow client would hold its place as long. */
function checkedEvery(patienceMs: number): { readonly connectionsCheckingInterval: number } {
  return { connectionsCheckingInterval: Math.ceil(patienceMs / 10) }
}

function configured<S extends Server>(server: S, patienceMs = REQUEST_TIMEOUT_MS): S {
  server.requestTimeout = patienceMs
  server.headersTimeout = patienceMs
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.maxConnections = MAXIMUM_CONNECTIONS
  return server
}

function started(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function removeStaleSocket(path: string): Promise<void> {
  const status = lstatSync(path, { throwIfNoEntry: false })
  if (status === undefined) return
  if (!status.isSocket()) throw new Error(`${path} exists and is not a socket; remove it`)
  if (await answers(path)) {
    throw new Error(`another process answers on ${path}; stop it or set api.socket`)
  }
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection({ path })
    const settle = (result: boolean): void => {
      probe.destroy()
      resolve(result)
    }
    probe.once('connect', () => settle(true))
    // Only a refusal proves that nobody is there; on any other error it is left alone.
    probe.once('error', (cause: NodeJS.ErrnoException) => settle(cause.code !== 'ECONNREFUSED'))
  })
}

/** For receiving a whole request of at most 64 KB. */
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 5_000
export const MAXIMUM_CONNECTIONS = 256
