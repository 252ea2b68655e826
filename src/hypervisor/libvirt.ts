/**
 * libvirt as virsh speaks it: lifecycle events line by line, the states of all domains at once, and
 * the XML of one. Texts become values here; what they mean is for domain-follower.ts to say.
 */
import { execFile } from 'node:child_process'
import type { DomainState } from './domain-follower.js'

export interface LifecycleEvent {
  readonly domain: string
  readonly event: string
  readonly detail: string
  /** Milliseconds since virsh heard of it; 0 when it gave no time. */
  readonly agoMs: number
}

export interface Libvirt {
  /** The command that prints events without end. */
  readonly eventCommand: readonly string[]
  /** Name → state of every domain. Rejects when libvirtd does not answer. */
  states(): Promise<ReadonlyMap<string, DomainState>>
  /** The XML of a live domain. Rejects when there is none, or it is longer than 2 MB. */
  description(domain: string): Promise<string>
}

/** libvirt behind `uri`, by the command `virsh`. */
export function createLibvirt(uri: string): Libvirt {
  const run = (...args: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const options = { timeout: ANSWER_LIMIT_MS, maxBuffer: MAXIMUM_ANSWER }
      execFile('virsh', ['-q', '-c', uri, ...args], options, (cause, stdout, stderr) => {
        if (cause) reject(new Error(stderr.trim().split('\n')[0] || cause.message))
        else resolve(stdout)
      })
    })
  return {
    eventCommand: ['virsh', '-q', '-c', uri, 'event', '--all', '--loop', '--timestamp'],
    states: async () => parseStates(await run('domstats', '--state', '--raw')),
    description: (domain) => run('dumpxml', '--', domain),
  }
}

/** `2026-01-01 00:00:00.123+0000: event 'lifecycle' for domain 'vm1': Suspended Migrated`. */
export function parseEventLine(line: string, nowMs: number): LifecycleEvent | undefined {
  const match = EVENT_LINE.exec(line)
  if (match === null) return undefined
  const [, stamp = '', quoted, bare, event = '', detail = ''] = match
  const atMs = Date.parse(stamp.replace(' ', 'T').replace(/([+-]\d\d)(\d\d)$/, '$1:$2'))
  const agoMs = Number.isFinite(atMs) ? Math.min(Math.max(0, nowMs - atMs), 60_000) : 0
  return { domain: quoted ?? bare ?? '', event, detail, agoMs }
}

/** Blocks of `Domain: 'vm1'`, `state.state=1`, `state.reason=5`. */
export function parseStates(text: string): Map<string, DomainState> {
  const states = new Map<string, DomainState>()
  for (const block of text.split(/^(?=Domain: )/m)) {
    const name = /^Domain: '(.*)'$/m.exec(block)?.[1]
    const number = Number(/state\.state=(\d+)/.exec(block)?.[1] ?? Number.NaN)
    const reason = Number(/state\.reason=(\d+)/.exec(block)?.[1] ?? Number.NaN)
    if (name === undefined || states.size >= MAXIMUM_DOMAINS) continue
    if (number === RUNNING || number === BLOCKED) states.set(name, 'running')
    else if (number === PAUSED) {
      const migrating = reason === PAUSED_MIGRATION || reason === PAUSED_STARTING_UP
      states.set(name, migrating ? 'migrating' : 'paused')
    } else states.set(name, 'absent')
  }
  return states
}

/** Numbers of libvirt's virDomainState and virDomainPausedReason. */
const RUNNING = 1
const BLOCKED = 2
const PAUSED = 3
const PAUSED_MIGRATION = 2
const PAUSED_STARTING_UP = 11

const EVENT_LINE =
  /^(?:(\S+ \S+): )?event 'lifecycle' for domain (?:'([^']*)'|([^:]*)): (\w+)(?: (.+?))?\s*$/
const ANSWER_LIMIT_MS = 10_000
const MAXIMUM_ANSWER = 2 << 20
const MAXIMUM_DOMAINS = 10_000
