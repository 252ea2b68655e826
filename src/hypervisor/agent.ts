/**
 * The agent of a hypervisor: brings hooks, events, polls and the bridge's forwarding database to
 * the domain watch. A process of its own, so that neither libvirt nor the daemon waits for it.
 */
import { execFile } from 'node:child_process'
import type { DomainState } from './domain-follower.js'
import { createDomainWatch, type DomainWatchParts } from './domain-watch.js'
import { openHookInbox } from './hook-inbox.js'
import { createLibvirt, parseEventLine } from './libvirt.js'
import { createNodeClient } from './node-client.js'
import { superviseLines } from './supervised-lines.js'

export interface AgentOptions {
  readonly uri: string
  /** Unix socket of the daemon's API. */
  readonly socket: string
  readonly runtimeDirectory: string
  readonly mode: 'live' | 'switch'
  readonly configured: ReadonlyMap<string, readonly string[]>
  readonly log: DomainWatchParts['log']
}

/** Runs until the returned function is called; rejects when the hook's socket cannot be opened. */
export async function startAgent(options: AgentOptions): Promise<() => void> {
  const { log } = options
  const libvirt = createLibvirt(options.uri)
  const watch = createDomainWatch({
    node: createNodeClient(options.socket),
    state: async (domain) => (await libvirt.states()).get(domain) ?? 'absent',
    description: libvirt.description,
    configured: options.configured,
    mode: options.mode,
    widenTap,
    log,
  })
  let polling = false
  const poll = async (): Promise<void> => {
    if (polling) return
    polling = true
    try {
      const states: ReadonlyMap<string, DomainState> = await libvirt.states()
      watch.polled(states)
    } catch (cause) {
      log('warn', 'libvirt does not answer', { reason: (cause as Error).message })
    } finally {
      polling = false
    }
  }
  const inbox = await openHookInbox(options.runtimeDirectory, (call) => {
    const { domain, operation, subOperation, description, agoMs } = call
    // What lay in the spool for long is history: the present state is asked for instead.
    if (agoMs > OLDEST_HOOK_MS) return
    watch.tell(domain, { kind: 'hook', operation, subOperation }, description)
  })
  const stopEvents = superviseLines({
    command: libvirt.eventCommand,
    onStart: () => void poll(),
    onLine(line) {
      const event = parseEventLine(line, Date.now())
      if (event !== undefined) watch.tell(event.domain, { kind: 'lifecycle', ...event })
    },
    onEnd: (reason) => log('warn', 'no events from libvirt', { reason }),
  })
  const stopFdb = superviseLines({
    command: ['bridge', 'monitor', 'fdb'],
    onLine(line) {
      const mac = /^([0-9a-f:]{17}) dev \S+ .*master /.exec(line)?.[1]
      if (mac !== undefined && !line.includes('permanent')) watch.macSeen(mac)
    },
    onEnd: (reason) => log('warn', 'no news of the bridge', { reason }),
  })
  const timer = setInterval(() => {
    inbox.look()
    void poll()
  }, POLL_MS)
  return () => {
    clearInterval(timer)
    stopEvents()
    stopFdb()
    inbox.close()
  }
}

/** A tap takes 500 packets by default: fewer than may be held, and what it does not take is lost. */
function widenTap(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const words = ['link', 'set', 'dev', name, 'txqueuelen', String(TAP_QUEUE_PACKETS)]
    execFile('ip', words, { timeout: 1_000 }, (cause, _output, errors) =>
      cause ? reject(new Error(errors.trim() || cause.message)) : resolve(),
    )
  })
}

/** As many as the hold of the datapath keeps for one endpoint. */
const TAP_QUEUE_PACKETS = 20_000
/** Lost events become late ones. */
const POLL_MS = 5_000
const OLDEST_HOOK_MS = 30_000
