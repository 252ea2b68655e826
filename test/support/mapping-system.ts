/**
 * A Map-Server and Map-Resolver to hold a literal conversation with.
 *
 * Every call says the moment and returns what came of it in one flat list: what a `persist` puts
 * after the write is shown behind it, as if the store were instant, and what was written is kept, so
 * that `restart` can begin a new run from it. Datagrams are shown decoded.
 */
import type { NodeConfig } from '../../src/config/node-config.js'
import type { Event } from '../../src/control/event.js'
import type { Output } from '../../src/control/input-output.js'
import { createMapResolver } from '../../src/control/map-resolver/map-resolver.js'
import { createMapServer } from '../../src/control/map-server/map-server.js'
import type { StoredRecord } from '../../src/control/stored-record.js'
import { formatIpAddress } from '../../src/lisp/address.js'
import { type AuthenticationKey, encodeSigned } from '../../src/lisp/authentication.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import type { Mapping } from '../../src/lisp/mapping.js'
import {
  decodeMessage,
  encodeMessage,
  type MapRegister,
  type MapRequest,
  type Message,
} from '../../src/lisp/message.js'
import { isRemoval, recordKey } from '../../src/store/store.js'
import { aKey, aMapRegister, anAddress, hmac, someCapabilities } from './builders.js'

export interface Sent {
  readonly from: string
  readonly to: string
  readonly toPort: number
  readonly bytes: Uint8Array
  readonly message: Message
  /** Kinds of the records that are durable before it leaves; empty when it waits for nothing. */
  readonly after: readonly StoredRecord['kind'][]
}

export interface Result {
  readonly sent: readonly Sent[]
  readonly events: readonly Event[]
  /** Names and reasons of the events: 'map-register-rejected replayed'. */
  readonly names: readonly string[]
  /** Records in the order of writing. */
  readonly written: readonly StoredRecord[]
  /** What was sent without waiting for the store. */
  readonly sentAtOnce: number
}

/** What came of one Map-Register: `sent` apart by whether it copies the nonce of the register. */
export interface RegisterResult extends Result {
  readonly answer: Sent | undefined
  /** Map-Notifies to others. */
  readonly notices: readonly Sent[]
}

export interface RegisterOptions extends Partial<MapRegister> {
  readonly key?: AuthenticationKey
  /** Length of the authentication data; default that of the algorithm's name. */
  readonly macBytes?: number
}

export function createMappingSystem(
  config: NodeConfig,
  store = new Map<string, StoredRecord>(),
  seed = 1,
) {
  const capabilities = someCapabilities(seed)
  const mapServer = createMapServer(config, capabilities)
  const mapResolver = createMapResolver(config, mapServer, undefined)

  const run = (action: (outputs: Output[]) => unknown): Result => {
    const outputs: Output[] = []
    action(outputs)
    return resultOf(outputs, store)
  }

  return {
    store,
    mapServer,
    /** A Map-Register from `from`, signed with `key`. */
    register(now: number, from: string, options: RegisterOptions): RegisterResult {
      const bytes = registerBytes(options)
      return this.registerBytes(now, from, bytes)
    },
    registerBytes(now: number, from: string, bytes: Uint8Array): RegisterResult {
      const message = decodeMessage(bytes)
      if (message.kind !== 'map-register') throw new Error(`not a Map-Register: ${message.kind}`)
      const to = ownAddress(config, from)
      const datagram = {
        kind: 'datagram',
        from: anAddress(from),
        fromPort: 4342,
        to,
        bytes,
      } as const
      const result = run((outputs) => mapServer.handleRegister(message, datagram, now, outputs))
      const isAnswer = (sent: Sent) =>
        sent.message.kind === 'map-notify' && sent.message.nonce === message.nonce
      const answers = result.sent.filter(isAnswer)
      if (answers.length > 1) throw new Error('answered more than once')
      const notices = result.sent.filter((sent) => !isAnswer(sent))
      return { ...result, answer: answers[0], notices }
    },
    /** A Map-Request in an ECM from `from`, inner source port 61000. */
    request(now: number, from: string, request: MapRequest): Result & { readonly taken: boolean } {
      let taken = false
      const inner = encodeMessage(request)
      const ecm = {
        kind: 'encapsulated-control',
        security: false,
        ddtOriginated: false,
        innerSource: anAddress('10.9.9.9'),
        innerDestination: request.records[0]?.eidPrefix.address ?? anAddress('10.9.9.8'),
        innerSourcePort: 61_000,
        innerDestinationPort: 4342,
        message: inner,
      } as const
      const to = ownAddress(config, from)
      const bytes = encodeMessage(ecm)
      const datagram = { kind: 'datagram', from: anAddress(from), fromPort: 5, to, bytes } as const
      const result = run((outputs) => {
        taken = mapResolver.handleRequest(request, ecm, datagram, now, outputs)
      })
      return { ...result, taken }
    },
    /** Map-Notify-Ack for a notify that was sent. */
    acknowledge(now: number, from: string, notify: Sent, key = aKey()): Result {
      if (notify.message.kind !== 'map-notify') throw new Error('not a Map-Notify')
      const ack = { ...notify.message, kind: 'map-notify-ack' } as const
      const bytes = encodeSigned(ack, key, hmac)
      const to = ownAddress(config, from)
      const datagram = {
        kind: 'datagram',
        from: anAddress(from),
        fromPort: 4342,
        to,
        bytes,
      } as const
      return run((outputs) => mapServer.handleNotifyAck(ack, datagram, now, outputs))
    },
    deadline(now: number): Result {
      return run((outputs) => mapServer.handleDeadline(now, outputs))
    },
    /** Lets every deadline up to `until` come, each at its moment. */
    runUntil(until: number): { readonly at: number; readonly result: Result }[] {
      const steps: { at: number; result: Result }[] = []
      for (
        let at = mapServer.deadline();
        at !== undefined && at <= until;
        at = mapServer.deadline()
      ) {
        if (steps.length > 1000) throw new Error('deadlines without end')
        steps.push({ at, result: this.deadline(at) })
      }
      return steps
    },
    restore(now: number): Result {
      return run((outputs) => mapServer.restore([...store.values()], now, outputs))
    },
  }
}

/** A second run on what the first one wrote. */
export function restarted(config: NodeConfig, store: Map<string, StoredRecord>, now: number) {
  const system = createMappingSystem(config, new Map(store), 2)
  return { system, result: system.restore(now) }
}

export function registerBytes(options: RegisterOptions): Uint8Array {
  const { key = aKey(), macBytes = key.algorithm === 1 ? 12 : 16, ...about } = options
  const message = aMapRegister({ ...about, authenticationData: new Uint8Array(macBytes) })
  return encodeSigned(message, key, hmac)
}

/** '10.1.0.5/32 → 192.0.2.1 v7', or with the action when there is no locator. */
export function inWords(mapping: Mapping): string {
  const where =
    mapping.locators.length === 0
      ? mapping.action
      : mapping.locators.map(({ rloc }) => formatIpAddress(rloc)).join(' ')
  return `${formatEidPrefix(mapping.eidPrefix)} → ${where} v${mapping.mapVersion}`
}

export function recordsOf(sent: Sent | undefined): readonly Mapping[] {
  const others: readonly string[] = ['map-request', 'map-referral']
  return sent !== undefined && 'records' in sent.message && !others.includes(sent.message.kind)
    ? (sent.message.records as readonly Mapping[])
    : []
}

function ownAddress(config: NodeConfig, peer: string) {
  const { family } = anAddress(peer)
  const own = config.rlocs.find(({ address }) => address.family === family)
  return own?.address ?? config.rlocs[0]!.address
}

function resultOf(outputs: readonly Output[], store: Map<string, StoredRecord>): Result {
  const sent: Sent[] = []
  const events: Event[] = []
  const written: StoredRecord[] = []
  const show = (output: Output, after: readonly StoredRecord['kind'][]) => {
    if (output.kind === 'event') events.push(output.event)
    if (output.kind === 'send') sent.push(shown(output, after))
    if (output.kind !== 'persist') return
    for (const record of output.records) {
      written.push(record)
      if (isRemoval(record)) store.delete(recordKey(record))
      else store.set(recordKey(record), record)
    }
    const kinds = output.records.map((record) => record.kind)
    for (const next of output.then) show(next, [...after, ...kinds])
  }
  for (const output of outputs) show(output, [])
  const names = events.map(({ name, reason }) =>
    reason === undefined ? name : `${name} ${reason}`,
  )
  const sentAtOnce = outputs.filter(({ kind }) => kind === 'send').length
  return { sent, events, names, written, sentAtOnce }
}

function shown(
  output: Extract<Output, { kind: 'send' }>,
  after: readonly StoredRecord['kind'][],
): Sent {
  const message = decodeMessage(output.bytes)
  if (message.kind === 'malformed') throw new Error(`malformed output: ${message.code}`)
  const { toPort, bytes } = output
  return {
    from: formatIpAddress(output.from),
    to: formatIpAddress(output.to),
    toPort,
    bytes,
    message,
    after,
  }
}
