/**
 * Where hooks arrive: a spool of files, and a socket whose every word means "look now".
 *
 * The file is the message and the socket only its bell, so an agent that was down, slow or started
 * late misses nothing. Node has no Unix datagrams; `logger` speaks to a stream socket as well.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'

export interface HookCall {
  readonly domain: string
  readonly operation: string
  readonly subOperation: string
  /** The domain XML as libvirt gave it, possibly cut after 1 MB. */
  readonly description: string
  /** Milliseconds since the hook was called, by this host's clock. */
  readonly agoMs: number
}

export interface HookInbox {
  /** Reads what is in the spool now, oldest first. */
  look(): void
  close(): void
}

/** Starts listening; what lies in the spool already is delivered at once. */
export async function openHookInbox(
  directory: string,
  onCall: (call: HookCall) => void,
): Promise<HookInbox> {
  const spool = join(directory, 'spool')
  mkdirSync(spool, { recursive: true, mode: 0o700 })
  let isClosed = false
  const look = (): void => {
    // What a call wakes that came just before the end finds nobody, and perhaps no directory.
    if (isClosed) return
    for (const name of readdirSync(spool).sort()) {
      if (name.startsWith('.')) continue
      const call = readCall(join(spool, name), name)
      rmSync(join(spool, name), { force: true })
      if (call !== undefined) onCall(call)
    }
  }
  const path = join(directory, 'hook.sock')
  rmSync(path, { force: true })
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', look)
    socket.setTimeout(IDLE_MS, () => socket.destroy())
  })
  server.maxConnections = MAXIMUM_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.listen(path, resolve)
  })
  look()
  return {
    look,
    close() {
      isClosed = true
      server.close()
      rmSync(path, { force: true })
    },
  }
}

function readCall(file: string, name: string): HookCall | undefined {
  try {
    const text = readFileSync(file, 'utf8')
    const [domain = '', operation = '', subOperation = ''] = text.split('\n', 3)
    const head = domain.length + operation.length + subOperation.length + 3
    const calledMs = Number(name.split('-')[0]) / 1e6
    const agoMs = Number.isFinite(calledMs) ? Math.max(0, Date.now() - calledMs) : 0
    return { domain, operation, subOperation, description: text.slice(head), agoMs }
  } catch {
    // Taken away by somebody else in between: nothing to say.
    return undefined
  }
}

const MAXIMUM_CONNECTIONS = 64
const IDLE_MS = 1_000
