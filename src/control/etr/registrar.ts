/**
 * Telling the Map-Servers what is here: Map-Register, its repetition, its acknowledgement.
 *
 * Supported standards: RFC 9301 §5.6, §5.7, §8.2; Map-Version in records RFC 9302.
 * Each message asks for a Map-Notify and is repeated until it comes: after 100 ms (our choice: one
 * lost datagram must not delay a move by a second), then 1, 2, 4 … 60 s (RFC 9301 §5.7). The first
 * repetitions are the same bytes. When another register has gone to that Map-Server meanwhile, or
 * from the fourth repetition on, it is signed anew: the old nonce would be dropped as a replay.
 * What an acknowledgement or a refusal means for an EID is decided by the callbacks.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { authenticationLength, encodeSigned } from '../../lisp/authentication.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapNotify } from '../../lisp/message.js'
import type { DatabaseEntry, MappingDatabase } from '../../tables/mapping-database.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { namesUs, ownLocators, ownMapping, sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { keyTowards, mapServerProfile } from '../peer-profile.js'
import type { RisingCounter } from '../rising-counter.js'

export interface RegistrarCallbacks {
  /** The Map-Server holds our mapping; `entry.grantedVersion` is set. */
  acknowledged(entry: DatabaseEntry, now: Instant, outputs: Output[]): void
  /** The Map-Server answered with another's mapping: our register was refused. */
  refused(entry: DatabaseEntry, current: Mapping, now: Instant, outputs: Output[]): void
}

export interface Registrar {
  /** Registers these entries at every Map-Server now, in as few messages as fit. */
  register(entries: readonly DatabaseEntry[], now: Instant, outputs: Output[]): void
  /** Registers it with the next `flush`, together with what else has come meanwhile. */
  gather(entry: DatabaseEntry): void
  flush(now: Instant, outputs: Output[]): void
  /** The same in a few milliseconds, when the EIDs of the endpoint that come next are there as well. */
  flushSoon(now: Instant): void
  /** Withdraws them (TTL 0), once, without asking for an answer. */
  withdraw(entries: readonly DatabaseEntry[], now: Instant, outputs: Output[]): void
  /** The entry is no longer ours to register: nothing that names it is repeated. */
  forget(entry: DatabaseEntry): void
  /** A register of another kind has gone to that Map-Server: ours before it are not repeated as bytes. */
  spoken(serverIndex: number, nonce: bigint): void
  /** Begins the periodic refresh. */
  start(now: Instant): void
  /** True when the (already verified) notify answers one of our registers, fresh or repeated. */
  handleAcknowledgement(
    serverIndex: number,
    notify: MapNotify,
    now: Instant,
    outputs: Output[],
  ): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Outstanding {
  readonly serverIndex: number
  nonce: bigint
  bytes: Uint8Array
  entries: DatabaseEntry[]
  repetitions: number
}

type Server = NodeConfig['mapServers'][number]

/** Our choice, see the header. */
const QUICK_REPETITION_MS = 100
/**
 * Our choice: who redirects knows already, so the mapping system may hear of all EIDs of an endpoint
 * at once; and on a busy host (measured: two cores, four daemons) the redirect does not wait for what
 * the register sets going.
 */
const SOON_MS = 5
/** RFC 9301 §5.7: MUST, 1 s doubling, capped at 60 s. */
const FIRST_REPETITION_MS = 1000
const MAXIMUM_REPETITION_MS = 60_000
/** Name of the deadline of `flushSoon`. */
const SOON = 'soon'
/** Same bytes this often, then a fresh nonce. */
const IDENTICAL_REPETITIONS = 3
/** A silence of 3 s is worth an event; two lost datagrams are not. */
const UNREMARKABLE_REPETITIONS = 2
/** Nonces remembered per Map-Server, to know late acknowledgements for what they are. */
const REMEMBERED_NONCES = 1024
/** The refresh comes up to this share of the period early, so that sites do not march in step. */
const REFRESH_JITTER = 0.15
/** UDP payloads that pass every path unfragmented: 576 and 1280 bytes less IP and UDP headers. */
const PAYLOAD_BYTES = { 4: 576 - 28, 6: 1280 - 48 } as const
/** Fixed part, longest authentication data, xTR-ID and Site-ID. */
const ENVELOPE_BYTES = 16 + 32 + 24

export function createRegistrar(
  config: NodeConfig,
  capabilities: Capabilities,
  database: MappingDatabase,
  nonces: RisingCounter,
  callbacks: RegistrarCallbacks,
): Registrar {
  const locators = ownLocators(config)
  const outstanding = new Map<string, Outstanding>()
  const gathered = new Set<DatabaseEntry>()
  const deadlines = createDeadlines()
  const lastNonce = config.mapServers.map(() => 0n)
  const sentNonces = config.mapServers.map(() => new Set<bigint>())

  function sign(
    server: Server,
    serverIndex: number,
    records: readonly Mapping[],
    outputs: Output[],
  ) {
    const nonce = nonces.next(outputs)
    const key = keyTowards(server)
    const macBytes = authenticationLength(key.algorithm, mapServerProfile(server).sendWholeMac)
    const bytes = encodeSigned(
      {
        kind: 'map-register',
        nonce,
        keyId: key.keyId,
        algorithm: key.algorithm,
        authenticationData: new Uint8Array(macBytes),
        proxyReply: server.proxyReply,
        // RFC 9303 §6.3: the S bit says that we sign what we are asked with LISP-SEC.
        securityCapable: server.security !== undefined,
        eidNotify: false,
        useTtlForTimeout: false,
        mergeRequest: false,
        wantMapNotify: records.some((record) => record.ttlMinutes > 0),
        records,
        identity: { xtrId: config.xtrId, siteId: config.siteId },
      },
      key,
      capabilities.hmac,
    )
    lastNonce[serverIndex] = nonce
    const sent = sentNonces[serverIndex]!
    sent.add(nonce)
    if (sent.size > REMEMBERED_NONCES) for (const oldest of sent) if (sent.delete(oldest)) break
    return { nonce, bytes }
  }

  function recordsOf(server: Server, entries: readonly DatabaseEntry[]): Mapping[] {
    return entries.map((entry) =>
      ownMapping(entry.eidPrefix, locators, server.ttlMinutes, entry.claimVersion),
    )
  }

  function forget(entry: DatabaseEntry, serverIndex?: number): void {
    for (const [key, one] of outstanding) {
      if (serverIndex !== undefined && one.serverIndex !== serverIndex) continue
      if (!one.entries.includes(entry)) continue
      one.entries = one.entries.filter((other) => other !== entry)
      // The bytes still name the entry: what is left must be signed anew, not repeated.
      one.repetitions = Math.max(one.repetitions, IDENTICAL_REPETITIONS)
      if (one.entries.length > 0) continue
      outstanding.delete(key)
      deadlines.cancel(key)
    }
  }

  function registerAt(
    serverIndex: number,
    entries: DatabaseEntry[],
    now: Instant,
    outputs: Output[],
  ): void {
    const server = config.mapServers[serverIndex]!
    for (const batch of batches(server, entries, locators.length)) {
      for (const entry of batch) forget(entry, serverIndex)
      const { nonce, bytes } = sign(server, serverIndex, recordsOf(server, batch), outputs)
      const key = `${serverIndex}/${nonce}`
      outstanding.set(key, { serverIndex, nonce, bytes, entries: batch, repetitions: 0 })
      deadlines.set(key, now + QUICK_REPETITION_MS)
      transmit(server, bytes, batch.length, 'register', outputs)
    }
  }

  function transmit(
    server: Server,
    bytes: Uint8Array,
    records: number,
    reason: string,
    outputs: Output[],
  ): void {
    const mapServer = formatIpAddress(server.address)
    const sent = sendControl(config, server.address, bytes, outputs)
    outputs.push({
      kind: 'event',
      event: {
        name: 'map-register-sent',
        severity: sent ? 'debug' : 'warning',
        reason: sent ? reason : 'no-rloc-of-that-family',
        mapServer,
        records,
      },
    })
  }

  function repeat(key: string, one: Outstanding, now: Instant, outputs: Output[]): void {
    const server = config.mapServers[one.serverIndex]!
    one.entries = one.entries.filter((entry) => entry.registering)
    if (one.entries.length === 0) {
      outstanding.delete(key)
      return
    }
    let current = key
    if (one.repetitions >= IDENTICAL_REPETITIONS || lastNonce[one.serverIndex] !== one.nonce) {
      outstanding.delete(key)
      Object.assign(one, sign(server, one.serverIndex, recordsOf(server, one.entries), outputs))
      current = `${one.serverIndex}/${one.nonce}`
      outstanding.set(current, one)
    }
    transmit(server, one.bytes, one.entries.length, 'repetition', outputs)
    if (one.repetitions >= UNREMARKABLE_REPETITIONS) {
      report(outputs, 'registration-unacknowledged', 'warning', {
        mapServer: formatIpAddress(server.address),
        attempts: one.repetitions + 1,
        eidPrefixes: one.entries.map((entry) => formatEidPrefix(entry.eidPrefix)),
      })
    }
    deadlines.set(
      current,
      now + Math.min(FIRST_REPETITION_MS * 2 ** one.repetitions, MAXIMUM_REPETITION_MS),
    )
    one.repetitions += 1
  }

  function refresh(serverIndex: number, now: Instant, outputs: Output[]): void {
    const entries: DatabaseEntry[] = []
    // What is being repeated anyway needs no refresh of its own.
    const busy = new Set<DatabaseEntry>()
    for (const one of outstanding.values())
      if (one.serverIndex === serverIndex) for (const entry of one.entries) busy.add(entry)
    for (const entry of database.entries())
      if (entry.registering && entry.state === 'local' && !busy.has(entry)) entries.push(entry)
    registerAt(serverIndex, entries, now, outputs)
    scheduleRefresh(serverIndex, now)
  }

  function scheduleRefresh(serverIndex: number, now: Instant): void {
    const period = config.mapServers[serverIndex]!.registerMs
    const early = capabilities.random.fraction() * REFRESH_JITTER
    deadlines.set(`refresh/${serverIndex}`, now + period * (1 - early))
  }

  function applyRecord(
    entry: DatabaseEntry,
    record: Mapping,
    now: Instant,
    outputs: Output[],
  ): void {
    if (record.mapVersion !== 0) entry.grantedVersion = record.mapVersion
    if (!namesUs(config, record.locators)) {
      callbacks.refused(entry, record, now, outputs)
      return
    }
    entry.heardVersion = entry.grantedVersion
    entry.claimVersion = entry.grantedVersion
    entry.registeredAt = now
    callbacks.acknowledged(entry, now, outputs)
  }

  function register(entries: readonly DatabaseEntry[], now: Instant, outputs: Output[]): void {
    const wanted = entries.filter((entry) => entry.registering)
    for (const entry of wanted) gathered.delete(entry)
    for (let index = 0; index < config.mapServers.length; index += 1)
      registerAt(index, wanted, now, outputs)
  }

  function flush(now: Instant, outputs: Output[]): void {
    deadlines.cancel(SOON)
    if (gathered.size === 0) return
    const entries = [...gathered]
    gathered.clear()
    register(entries, now, outputs)
  }

  return {
    register,
    gather: (entry) => gathered.add(entry),
    flush,
    flushSoon(now) {
      if (gathered.size > 0 && deadlines.get(SOON) === undefined) deadlines.set(SOON, now + SOON_MS)
    },
    withdraw(entries, _now, outputs) {
      for (const entry of entries) {
        gathered.delete(entry)
        forget(entry)
      }
      config.mapServers.forEach((server, index) => {
        for (const batch of batches(server, entries, locators.length)) {
          const records = batch.map((entry) =>
            ownMapping(entry.eidPrefix, locators, 0, entry.grantedVersion),
          )
          transmit(
            server,
            sign(server, index, records, outputs).bytes,
            batch.length,
            'withdraw',
            outputs,
          )
        }
      })
    },
    forget(entry) {
      gathered.delete(entry)
      forget(entry)
    },
    spoken(serverIndex, nonce) {
      lastNonce[serverIndex] = nonce
    },
    start(now) {
      for (let index = 0; index < config.mapServers.length; index += 1) scheduleRefresh(index, now)
    },
    handleAcknowledgement(serverIndex, notify, now, outputs) {
      if (!sentNonces[serverIndex]?.has(notify.nonce)) return false
      const key = `${serverIndex}/${notify.nonce}`
      const one = outstanding.get(key)
      // A repeated answer to a repeated register: known already.
      if (one === undefined) return true
      outstanding.delete(key)
      deadlines.cancel(key)
      for (const entry of one.entries) {
        const name = formatEidPrefix(entry.eidPrefix)
        const record = notify.records.find((other) => formatEidPrefix(other.eidPrefix) === name)
        // An entry that left while its register was under way is no business of this answer.
        if (record !== undefined && entry.registering) applyRecord(entry, record, now, outputs)
      }
      return true
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = outstanding.get(key)
        if (one !== undefined) repeat(key, one, now, outputs)
        else if (key === SOON) flush(now, outputs)
        else if (key.startsWith('refresh/'))
          refresh(Number(key.slice('refresh/'.length)), now, outputs)
      }
    },
    deadline: () => deadlines.next(),
  }
}

/** Entries in groups whose Map-Register fits the smallest datagram every path carries. */
function batches(
  server: Server,
  entries: readonly DatabaseEntry[],
  locatorCount: number,
): DatabaseEntry[][] {
  const room = PAYLOAD_BYTES[server.address.family] - ENVELOPE_BYTES
  const groups: DatabaseEntry[][] = []
  let left = 0
  for (const entry of entries) {
    // 12 bytes of record, up to 12 of LCAF, the address; 8 and an address per locator (RFC 9301 §5.4).
    const size = 24 + entry.eidPrefix.address.bytes.length + locatorCount * 24
    if (groups.length === 0 || size > left || groups[groups.length - 1]!.length >= 255) {
      groups.push([])
      left = room
    }
    groups[groups.length - 1]!.push(entry)
    left -= size
  }
  return groups
}
