/**
 * The agent for one QEMU without libvirt: its states and events become those that domain-follower.ts
 * knows, and everything else is the same.
 *
 * A QEMU that waits for an incoming migration is what the hook `migrate begin` is with libvirt; one
 * that stops while its state is `finish-migrate` is `Suspended Migrated`; one whose socket closes is
 * gone.
 */
import type { DomainState } from './domain-follower.js'
import { createDomainWatch, type DomainWatchParts } from './domain-watch.js'
import { createNodeClient } from './node-client.js'
import { connectQmp, type Qmp, type QmpEvent } from './qmp.js'

export interface QmpAgentOptions {
  /** QEMU's socket. */
  readonly qmp: string
  /** Unix socket of the daemon's API. */
  readonly socket: string
  readonly eids: readonly string[]
  readonly mode: 'live' | 'switch'
  readonly log: DomainWatchParts['log']
}

/** Follows QEMU, also over its restarts, until the returned function is called. */
export function startQmpAgent(options: QmpAgentOptions): () => void {
  const { log } = options
  const name = options.qmp
  let qmp: Qmp | undefined
  let [stopped, complained] = [false, false]
  const timers = new Set<NodeJS.Timeout>()
  const status = async (): Promise<string> => {
    if (qmp === undefined) return 'shutdown'
    const answer = (await qmp.execute('query-status')) as { status?: string }
    return answer.status ?? 'shutdown'
  }
  const watch = createDomainWatch({
    node: createNodeClient(options.socket),
    state: async () => stateOf(await status()),
    description: async () => Promise.reject(new Error('QMP has no description')),
    configured: new Map([[name, options.eids]]),
    mode: options.mode,
    log,
  })
  const look = async (): Promise<void> => {
    const now = await status()
    if (now === 'inmigrate') {
      watch.tell(name, { kind: 'hook', operation: 'migrate', subOperation: 'begin' })
    } else watch.polled(new Map([[name, stateOf(now)]]))
  }
  const heard = async ({ event, agoMs }: QmpEvent): Promise<void> => {
    const began = performance.now()
    if (event === 'STOP') {
      const now = await status()
      if (now !== 'finish-migrate' && now !== 'postmigrate') return
      const age = agoMs + performance.now() - began
      watch.tell(name, { kind: 'lifecycle', event: 'Suspended', detail: 'Migrated', agoMs: age })
    } else if (event === 'RESUME') {
      watch.tell(name, { kind: 'lifecycle', event: 'Resumed', detail: 'Migrated', agoMs })
    } else if (event === 'SHUTDOWN' || event === 'MIGRATION') {
      watch.polled(new Map([[name, stateOf(await status())]]))
    }
  }
  const swallow = (cause: Error): void =>
    log('warn', 'QEMU was not asked', { reason: cause.message })
  const connect = (): void => {
    connectQmp(
      options.qmp,
      (event) => void heard(event).catch(swallow),
      () => {
        if (qmp === undefined || stopped) return
        qmp = undefined
        watch.polled(new Map([[name, 'absent']]))
        again()
      },
    ).then(
      (connected) => {
        qmp = connected
        complained = false
        log('info', 'QEMU answers', { qmp: name })
        return look().catch(swallow)
      },
      (cause: Error) => {
        if (!complained) log('warn', 'QEMU does not answer', { qmp: name, reason: cause.message })
        complained = true
        again()
      },
    )
  }
  const again = (): void => {
    if (stopped) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      connect()
    }, RECONNECT_MS)
    timers.add(timer)
  }
  connect()
  const poll = setInterval(() => {
    // An incoming migration is prepared once; its end is an event, or the end of the socket.
    if (qmp === undefined) return
    void status()
      .then((now) => now !== 'inmigrate' && watch.polled(new Map([[name, stateOf(now)]])))
      .catch(swallow)
  }, POLL_MS)
  return () => {
    stopped = true
    clearInterval(poll)
    for (const timer of timers) clearTimeout(timer)
    qmp?.close()
  }
}

/** QEMU's run states as the follower knows them; those that never run again here are absent. */
function stateOf(status: string): DomainState {
  switch (status) {
    case 'running':
      return 'running'
    case 'inmigrate':
    case 'finish-migrate':
    case 'prelaunch':
    case 'restore-vm':
      return 'migrating'
    case 'postmigrate':
    case 'shutdown':
    case 'guest-panicked':
    case 'internal-error':
      return 'absent'
    default:
      return 'paused'
  }
}

/** A new QEMU may be waiting for its migration for no longer than this before it is known. */
const RECONNECT_MS = 250
const POLL_MS = 5_000
