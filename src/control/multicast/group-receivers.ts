/**
 * The receiver side of a site: which groups have listeners here, and telling the Map-Servers.
 *
 * Supported standards: RFC 8378 §5.1.2, §7.2, §8: (S,G) and (*,G) are registered as LCAF 9 with our RLOC as
 * LCAF 13 at level 128, with a=1, P=1 and M=0; only by the xTR of the site that is designated for the
 * segment. Refreshed like other registrations; the last listener withdraws (TTL 0, a=1).
 * Nobody acknowledges these registers, so that a change is said three times within a second (our
 * choice: a lost datagram must not cost a minute of packets).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { authenticationLength, encodeSigned } from '../../lisp/authentication.js'
import { coversEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import type { DatapathEvent } from '../datapath-event.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import { keyTowards, mapServerProfile } from '../peer-profile.js'
import type { RisingCounter } from '../rising-counter.js'
import { listMapping, RECEIVER_LEVEL } from './replication-list.js'

type Change = Extract<DatapathEvent, { kind: 'group-joined' | 'group-left' }>

export interface GroupReceivers {
  /** A listener has come or gone; the name of the group when its interfaces changed. */
  handleChange(event: Change, now: Instant, outputs: Output[]): MulticastGroup | undefined
  /**
   * Groups that an endpoint listens to who will soon be on these segments: joined at once, until `until`
   * at most.
   */
  expect(
    groups: readonly MulticastGroup[],
    interfaces: readonly string[],
    until: Instant,
    outputs: Output[],
  ): void
  /** Groups that this host listens to, at most `limit`. */
  groupsOf(host: Rloc, instanceId: number, limit: number): MulticastGroup[]
  /** Interfaces with listeners of exactly this name. */
  interfacesOf(group: MulticastGroup): readonly string[]
  /** The designation of a segment has changed: register or withdraw what listens there. */
  redesignate(now: Instant): void
  /** Sends what has changed. */
  flush(now: Instant, outputs: Output[]): void
  start(now: Instant): void
  /** Withdraws everything but what is of these instance-IDs, once; how many groups. */
  withdrawAll(keeping: readonly number[], now: Instant, outputs: Output[]): number
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(): readonly ReceiverView[]
}

/** A group with listeners, for people. */
export interface ReceiverView {
  readonly group: MulticastGroup
  readonly interfaces: readonly string[]
  readonly listeners: number
  readonly registered: boolean
}

export interface ReceiverParts {
  readonly nonces: RisingCounter
  /** A Map-Register with this nonce has gone to that Map-Server. */
  spoken(serverIndex: number, nonce: bigint): void
  /** Whether we register and replicate for this segment. */
  isDesignated(interfaceName: string, family: 4 | 6): boolean
  /** Nobody is expected any more who listens to this. */
  expectationEnded(group: MulticastGroup, now: Instant, outputs: Output[]): void
}

interface Joined {
  readonly group: MulticastGroup
  /** `interface host` → interface. */
  readonly listeners: Map<string, string>
  /** Because of a move that is coming. */
  expectedUntil: Instant | undefined
  /** Where: there is nothing to report before the endpoint is there. */
  readonly expectedOn: Set<string>
  registered: boolean
}

/** Listeners of one group that are counted; one more changes nothing that is registered. */
const MAXIMUM_LISTENERS = 4096
/** Our choice, see the header: when a change is said again. */
const REPETITIONS_MS = [200, 800]
/** Refreshes come up to this share of the period early. */
const REFRESH_JITTER = 0.15
/** Records whose Map-Register passes every path: 576 and 1280 bytes. */
const RECORDS_PER_MESSAGE = { 4: 5, 6: 9 } as const

export function createGroupReceivers(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: ReceiverParts,
): GroupReceivers {
  const joined = new Map<string, Joined>()
  /** What is to be said (again), and how often it was. */
  const changed = new Map<string, { readonly group: MulticastGroup; said: number }>()
  const deadlines = createDeadlines()
  const own = preferredRloc(config)
  const { maximumGroups, relayLevel, relayInstances } = config.multicast

  function note(one: Joined): void {
    const wanted = isWanted(one)
    if (wanted === one.registered) return
    one.registered = wanted
    changed.set(formatGroup(one.group), { group: one.group, said: 0 })
  }

  function isWanted(one: Joined): boolean {
    // Other sites are joined at their xTRs (RFC 6831), not told by the mapping system.
    if (config.multicast.pim?.joinSites === true) return false
    if (one.expectedUntil !== undefined) return true
    const { family } = one.group.group
    for (const name of one.listeners.values()) if (parts.isDesignated(name, family)) return true
    return false
  }

  function entryOf(group: MulticastGroup, outputs: Output[]): Joined | undefined {
    const key = formatGroup(group)
    const known = joined.get(key)
    if (known !== undefined) return known
    if (joined.size >= maximumGroups) {
      report(outputs, 'group-refused', 'warning', { reason: 'too-many-groups', group: key })
      return undefined
    }
    const one = {
      group,
      listeners: new Map(),
      expectedUntil: undefined,
      expectedOn: new Set<string>(),
      registered: false,
    }
    joined.set(key, one)
    return one
  }

  function join(event: Change, outputs: Output[]): MulticastGroup | undefined {
    const one = entryOf(event.group, outputs)
    if (one === undefined) return undefined
    const name = listenerName(event)
    const group = formatGroup(event.group)
    if (one.listeners.size >= MAXIMUM_LISTENERS && !one.listeners.has(name)) {
      report(outputs, 'group-refused', 'notice', { reason: 'too-many-listeners', group })
      return undefined
    }
    one.listeners.set(name, event.interfaceName)
    note(one)
    report(outputs, 'group-joined', 'info', { group, interfaceName: event.interfaceName })
    return event.group
  }

  function leave(event: Change, outputs: Output[]): MulticastGroup | undefined {
    const group = formatGroup(event.group)
    const one = joined.get(group)
    if (one === undefined || !one.listeners.delete(listenerName(event))) return undefined
    note(one)
    forgetUnused(group, one)
    report(outputs, 'group-left', 'info', { group, interfaceName: event.interfaceName })
    return event.group
  }

  function forgetUnused(key: string, one: Joined): void {
    if (one.listeners.size === 0 && one.expectedUntil === undefined) joined.delete(key)
  }

  function recordOf(group: MulticastGroup, ttlMinutes: number): StructuredMapping {
    const entry = { level: RECEIVER_LEVEL, address: { kind: 'ip', address: own } } as const
    return listMapping(group, [entry], { ttlMinutes, mapVersion: 0, own: true })
  }

  function register(
    serverIndex: number,
    wanted: readonly { readonly group: MulticastGroup; readonly here: boolean }[],
    outputs: Output[],
  ): void {
    const server = config.mapServers[serverIndex]!
    const fitting = wanted.filter(({ group }) => isFor(server, group))
    const size = RECORDS_PER_MESSAGE[server.address.family]
    for (let at = 0; at < fitting.length; at += size) {
      const records = fitting
        .slice(at, at + size)
        .map(({ group, here }) => recordOf(group, here ? server.ttlMinutes : 0))
      send(serverIndex, records, outputs)
    }
  }

  function send(serverIndex: number, records: StructuredMapping[], outputs: Output[]): void {
    const server = config.mapServers[serverIndex]!
    const nonce = parts.nonces.next(outputs)
    const key = keyTowards(server)
    const macBytes = authenticationLength(key.algorithm, mapServerProfile(server).sendWholeMac)
    const bytes = encodeSigned(
      {
        kind: 'map-register',
        nonce,
        keyId: key.keyId,
        algorithm: key.algorithm,
        authenticationData: new Uint8Array(macBytes),
        proxyReply: true,
        securityCapable: false,
        eidNotify: false,
        useTtlForTimeout: false,
        mergeRequest: true,
        wantMapNotify: false,
        records: [],
        structuredRecords: records,
        identity: { xtrId: config.xtrId, siteId: config.siteId },
      },
      key,
      capabilities.hmac,
    )
    parts.spoken(serverIndex, nonce)
    const sent = sendControl(config, server.address, bytes, outputs)
    report(outputs, 'map-register-sent', sent ? 'debug' : 'warning', {
      reason: sent ? 'groups' : 'no-rloc-of-that-family',
      mapServer: formatIpAddress(server.address),
      records: records.length,
    })
  }

  function refresh(serverIndex: number, now: Instant, outputs: Output[]): void {
    const wanted = [...joined.values()].filter((one) => one.registered)
    register(
      serverIndex,
      wanted.map(({ group }) => ({ group, here: true })),
      outputs,
    )
    if (relayLevel !== undefined) registerRelay(serverIndex, relayLevel, outputs)
    schedule(serverIndex, now)
  }

  /** RFC 8378 §9: an RTR offers itself for any group of these instances. */
  function registerRelay(serverIndex: number, level: number, outputs: Output[]): void {
    const server = config.mapServers[serverIndex]!
    const records = relayInstances.map((instanceId) => ({
      ...relayRecord(instanceId, own, level),
      ttlMinutes: server.ttlMinutes,
    }))
    const size = RECORDS_PER_MESSAGE[server.address.family]
    for (let at = 0; at < records.length; at += size)
      send(serverIndex, records.slice(at, at + size), outputs)
  }

  function schedule(serverIndex: number, now: Instant): void {
    const early = capabilities.random.fraction() * REFRESH_JITTER
    const period = config.mapServers[serverIndex]!.registerMs * (1 - early)
    deadlines.set(`refresh/${serverIndex}`, now + period)
  }

  function flush(now: Instant, outputs: Output[]): void {
    if (changed.size === 0) return
    const said = [...changed.entries()].map(([key, { group }]) => {
      return { group, here: joined.get(key)?.registered === true }
    })
    for (let index = 0; index < config.mapServers.length; index += 1) register(index, said, outputs)
    let next: number | undefined
    for (const [key, one] of changed) {
      const wait = REPETITIONS_MS[one.said]
      one.said += 1
      if (wait === undefined) changed.delete(key)
      else next = Math.min(next ?? wait, wait)
    }
    if (next !== undefined) deadlines.set('repeat', now + next)
  }

  return {
    handleChange(event, now, outputs) {
      if (relayLevel !== undefined) return undefined
      const group = event.kind === 'group-joined' ? join(event, outputs) : leave(event, outputs)
      if (hasFresh(changed)) deadlines.set('repeat', now)
      return group
    },
    expect(groups, interfaces, until, outputs) {
      for (const group of groups) {
        const one = entryOf(group, outputs)
        if (one === undefined) return
        one.expectedUntil = until
        for (const name of interfaces) one.expectedOn.add(name)
        note(one)
      }
      if (groups.length > 0) deadlines.set('expected', until)
    },
    groupsOf(host, instanceId, limit) {
      const name = formatIpAddress(host)
      const found: MulticastGroup[] = []
      for (const { group, listeners } of joined.values()) {
        if (found.length >= limit) break
        if (group.instanceId !== instanceId) continue
        for (const listener of listeners.keys()) {
          if (!listener.endsWith(` ${name}`)) continue
          found.push(group)
          break
        }
      }
      return found
    },
    interfacesOf(group) {
      const one = joined.get(formatGroup(group))
      return [...new Set([...(one?.listeners.values() ?? []), ...(one?.expectedOn ?? [])])].sort()
    },
    redesignate(now) {
      for (const one of joined.values()) note(one)
      if (changed.size > 0) deadlines.set('repeat', now)
    },
    flush(now, outputs) {
      if (hasFresh(changed)) flush(now, outputs)
    },
    start(now) {
      for (let index = 0; index < config.mapServers.length; index += 1)
        if (relayLevel === undefined) schedule(index, now)
        else deadlines.set(`refresh/${index}`, now)
    },
    withdrawAll(keeping, _now, outputs) {
      const gone = [...joined.values()].filter(
        (one) => one.registered && !keeping.includes(one.group.instanceId),
      )
      for (let index = 0; index < config.mapServers.length; index += 1)
        register(
          index,
          gone.map(({ group }) => ({ group, here: false })),
          outputs,
        )
      return gone.length
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        if (key === 'repeat') flush(now, outputs)
        else if (key === 'expected') endExpectations(now, outputs)
        else refresh(Number(key.slice('refresh/'.length)), now, outputs)
      }
      if (hasFresh(changed)) flush(now, outputs)
    },
    deadline: () => deadlines.next(),
    views: () =>
      [...joined.values()].map(({ group, listeners, registered }) => ({
        group,
        interfaces: [...new Set(listeners.values())].sort(),
        listeners: listeners.size,
        registered,
      })),
  }

  function endExpectations(now: Instant, outputs: Output[]): void {
    let next: Instant | undefined
    for (const [key, one] of joined) {
      if (one.expectedUntil === undefined) continue
      if (one.expectedUntil > now) {
        next = Math.min(next ?? one.expectedUntil, one.expectedUntil)
        continue
      }
      one.expectedUntil = undefined
      one.expectedOn.clear()
      note(one)
      forgetUnused(key, one)
      parts.expectationEnded(one.group, now, outputs)
    }
    if (next !== undefined) deadlines.set('expected', next)
  }
}

/** The offer of a relay, as a record: any source, any group (RFC 8060 §4.7, mask lengths 0). */
function relayRecord(instanceId: number, rloc: Rloc, level: number): StructuredMapping {
  const any = { family: 4, bytes: new Uint8Array(4) } as const
  const group = { instanceId, source: undefined, group: any }
  const entry = { level, address: { kind: 'ip', address: rloc } } as const
  const record = listMapping(group, [entry], { ttlMinutes: 0, mapVersion: 0, own: true })
  const eid = record.eid as Extract<StructuredMapping['eid'], { kind: 'multicast-info' }>
  return { ...record, eid: { ...eid, groupMaskLength: 0 }, maskLength: 0 }
}

function hasFresh(changed: ReadonlyMap<string, { readonly said: number }>): boolean {
  for (const { said } of changed.values()) if (said === 0) return true
  return false
}

function listenerName({ interfaceName, host }: Change): string {
  return `${interfaceName} ${host === undefined ? '' : formatIpAddress(host)}`
}

/** RFC 8378 §5.1.2: the Map-Servers of the source's prefix are configured. */
function isFor(server: NodeConfig['mapServers'][number], group: MulticastGroup): boolean {
  const { instanceId, source } = group
  if (server.multicastSources === undefined || source === undefined) return true
  return server.multicastSources.some((one) => coversEid(one, { instanceId, address: source }))
}

/** The RLOC that copies are sent to: that of the best priority. Every configuration has one. */
function preferredRloc(config: NodeConfig): Rloc {
  return config.rlocs.reduce((best, one) => (one.priority < best.priority ? one : best)).address
}
