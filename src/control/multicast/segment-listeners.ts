/**
 * Who listens to what on one segment in one family: groups with their state, their hosts, and what the
 * rest of the xTR is told of it.
 *
 * Supported standards: RFC 3376 §6 and RFC 3810 §7 (the router's part), RFC 3376 §7.3.2 and RFC 3810 §8.3.2
 * (hosts of older versions), RFC 4604 §2.2 (in the SSM range nobody joins any source). What is told is
 * derived: the names (S,G) and (*,G) that the state stands for, each with the hosts that want it, or
 * once without a host where none is known; the difference to what was told before is joins and leaves.
 * Limits: groups of the segment, groups of one host, sources of a group, hosts that are tracked.
 */
import {
  equalIpAddresses,
  formatIpAddress,
  formatMac,
  type IpAddress,
  isMulticast,
  isUnspecified,
  type MacAddress,
  parseIpAddress,
} from '../../lisp/address.js'
import type { GroupRecord } from '../../lisp/multicast/membership.js'
import { isLinkScoped, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import {
  listens,
  type TrackedHost,
  type TrackedHosts,
  trackRecord,
  wants,
} from './listener-hosts.js'
import {
  applyRecord,
  emptyListenerState,
  expireListeners,
  isDeserted,
  type ListenerQuestion,
  type ListenerState,
  nextExpiry,
} from './listener-state.js'
import { type MembershipTiming, membershipMs, olderHostMs } from './membership-timing.js'
import type { ListenerView } from './segment-views.js'

export interface SegmentListeners {
  /** A report of any version. Returns what to ask, by group, and what was refused, by reason. */
  report(report: Reported, timing: MembershipTiming, now: Instant): ReportOutcome
  /** Hosts with this address or MAC are gone for good: what nobody else wants ends at once. */
  drop(isGone: (host: TrackedHost) => boolean, now: Instant): readonly Question[]
  state(key: string): ListenerState | undefined
  group(key: string): IpAddress | undefined
  /** After its state was changed from outside. */
  touched(key: string, now: Instant): void
  /** Groups that hosts with this MAC listen to, with their sources; at most `limit`. */
  groupsOf(mac: MacAddress, limit: number): readonly MulticastGroup[]
  handleDeadline(now: Instant): void
  deadline(): Instant | undefined
  views(now: Instant): readonly ListenerView[]
  counts(): { readonly groups: number; readonly hosts: number }
}

export interface Reported {
  readonly host: IpAddress
  readonly mac: MacAddress
  /** Of the message: IGMP 1–3, MLD 1–2. */
  readonly version: number
  readonly records: readonly GroupRecord[]
}

export interface Question extends ListenerQuestion {
  readonly key: string
}

export type RefusalReason =
  | 'too-many-groups'
  | 'too-many-groups-of-host'
  | 'too-many-sources'
  | 'any-source-in-ssm-range'
  | 'not-a-group'

export interface ReportOutcome {
  readonly questions: readonly Question[]
  readonly refused: ReadonlyMap<RefusalReason, number>
}

export interface SegmentTerms {
  readonly interfaceName: string
  readonly instanceId: number
  /** The newest version: 3 of IGMP, 2 of MLD. */
  readonly newest: 2 | 3
  readonly maximumGroups: number
  readonly maximumGroupsPerHost: number
  readonly maximumSources: number
  readonly fastLeave: boolean
}

/** `host` undefined: of the segment as a whole. */
export type ListenerChange = (
  kind: 'group-joined' | 'group-left',
  group: MulticastGroup,
  host: IpAddress | undefined,
) => void

interface Group {
  readonly key: string
  readonly address: IpAddress
  readonly state: ListenerState
  readonly hosts: TrackedHosts
  /** Not all hosts can be told apart until then. */
  untrackedUntil: Instant
  /** A host of that older version was heard: IGMPv2 or MLDv1, and IGMPv1. */
  olderUntil: Instant
  oldestUntil: Instant
  /** `name address` → what was told. */
  told: Map<string, { readonly group: MulticastGroup; readonly host: IpAddress | undefined }>
}

/** Hosts of one group that are told apart. */
const MAXIMUM_HOSTS = 1024
/** And of all groups of the segment. */
const MAXIMUM_TRACKED = 65_536
const MAXIMUM_SHOWN = 64
const ANY_SOURCE = '*'

export function createSegmentListeners(
  terms: SegmentTerms,
  changed: ListenerChange,
): SegmentListeners {
  const groups = new Map<string, Group>()
  /** By MAC of the host: in how many groups it is. */
  const groupsByHost = new Map<string, number>()
  const deadlines = createDeadlines()
  let tracked = 0

  // ------------------------------------------------------------------ what is told

  /** The names that the state stands for. */
  function namesOf({ state, hosts }: Group): readonly (readonly [string, IpAddress | undefined])[] {
    const names: [string, IpAddress | undefined][] = []
    if (state.mode === 'exclude') names.push([ANY_SOURCE, undefined])
    for (const [key, { address, until }] of state.sources) {
      if (until === undefined) continue
      // Beside (*,G) only what a host names: others get it by (*,G).
      if (state.mode === 'include' || [...hosts.values()].some((host) => wants(host, key)))
        names.push([key, address])
    }
    return names
  }

  function tell(group: Group): void {
    const { instanceId } = terms
    const before = group.told
    const next: Group['told'] = new Map()
    for (const [name, source] of namesOf(group)) {
      const about = { instanceId, source, group: group.address }
      let owed = 0
      for (const host of group.hosts.values()) {
        if (!wants(host, name)) continue
        // Who has no address yet is there, but cannot be named.
        const address = isUnspecified(host.address) ? undefined : host.address
        const key = `${name} ${address === undefined ? '' : formatIpAddress(address)}`
        next.set(key, { group: about, host: address })
        owed += 1
      }
      if (owed > 0) continue
      // The last one has left, and others are still being asked: until then it stays his.
      const last = [...before].filter(([key]) => key.startsWith(`${name} `))
      for (const [key, told] of last) next.set(key, told)
      if (last.length === 0) next.set(`${name} `, { group: about, host: undefined })
    }
    group.told = next
    // Joins first: what passes from one host to another is never unregistered.
    for (const [key, one] of next)
      if (!before.has(key)) changed('group-joined', one.group, one.host)
    for (const [key, one] of before) if (!next.has(key)) changed('group-left', one.group, one.host)
  }

  function settle(group: Group, now: Instant): void {
    expireListeners(group.state, now)
    for (const [key, { until }] of group.hosts) if (until <= now) forgetHost(group, key)
    if (isDeserted(group.state)) {
      for (const key of [...group.hosts.keys()]) forgetHost(group, key)
      tell(group)
      groups.delete(group.key)
      deadlines.cancel(group.key)
      return
    }
    tell(group)
    const next = nextExpiry(group.state)
    if (next !== undefined) deadlines.set(group.key, next)
  }

  // ------------------------------------------------------------------ hosts

  function forgetHost(group: Group, hostKey: string): void {
    if (!group.hosts.delete(hostKey)) return
    tracked -= 1
    const left = (groupsByHost.get(hostKey) ?? 1) - 1
    if (left <= 0) groupsByHost.delete(hostKey)
    else groupsByHost.set(hostKey, left)
  }

  function track(group: Group, one: Reported, record: GroupRecord, until: Instant): void {
    const hostKey = formatMac(one.mac)
    const known = group.hosts.get(hostKey)
    if (known === undefined && isFull(group)) {
      group.untrackedUntil = until
      return
    }
    const host: TrackedHost = known ?? {
      ...{ address: one.host, mac: one.mac, mode: 'include', sources: new Set(), until },
    }
    host.until = until
    trackRecord(host, record.type, record.sources, terms.maximumSources)
    if (!listens(host)) forgetHost(group, hostKey)
    else if (known === undefined) {
      group.hosts.set(hostKey, host)
      tracked += 1
      groupsByHost.set(hostKey, (groupsByHost.get(hostKey) ?? 0) + 1)
    }
  }

  function isFull(group: Group): boolean {
    return group.hosts.size >= MAXIMUM_HOSTS || tracked >= MAXIMUM_TRACKED
  }

  /** Whether silence of those we know is silence of all. */
  function isTracked(group: Group, now: Instant): boolean {
    return group.untrackedUntil <= now && versionOf(group, now) === terms.newest
  }

  /** RFC 3376 §7.3.2, RFC 3810 §8.3.2. */
  function versionOf(group: Group, now: Instant): number {
    if (terms.newest === 3 && group.oldestUntil > now) return 1
    return group.olderUntil > now ? terms.newest - 1 : terms.newest
  }

  /** What the hosts that are left want, and nothing else. */
  function leaveToTracked(group: Group, now: Instant): void {
    const { state, hosts } = group
    const left = [...hosts.values()]
    if (state.mode === 'exclude' && !left.some(({ mode }) => mode === 'exclude')) state.until = now
    if (state.mode === 'exclude' && state.until > now) return
    for (const key of state.sources.keys())
      if (!left.some((host) => wants(host, key))) state.sources.delete(key)
    // EXCLUDE had swallowed what single hosts named.
    for (const host of left)
      for (const key of host.sources)
        if (state.sources.get(key)?.until === undefined)
          state.sources.set(key, { address: parseIpAddress(key)!, until: host.until })
  }

  // ------------------------------------------------------------------ reports

  /** As RFC 3376 §7.3.2 has it while a host of an older version is there. */
  function inTermsOf(version: number, record: GroupRecord): GroupRecord | undefined {
    const { type } = record
    if (version === terms.newest) return record
    if (type === 'block-old-sources') return undefined
    // IGMPv1 has no leave: nobody may be taken to have left.
    if (version === 1 && terms.newest === 3 && type === 'change-to-include') return undefined
    return type === 'change-to-exclude' ? { ...record, sources: [] } : record
  }

  function refusalOf(record: GroupRecord, one: Reported): RefusalReason | undefined {
    const { group, type } = record
    if (!isMulticast(group)) return 'not-a-group'
    const isAny = type === 'mode-is-exclude' || type === 'change-to-exclude'
    if (isSourceSpecific(group) && (isAny || one.version !== terms.newest))
      return 'any-source-in-ssm-range'
    return undefined
  }

  /** The group of a record; a reason when it would be one too many. */
  function groupOf(record: GroupRecord, one: Reported): Group | RefusalReason | undefined {
    const key = formatIpAddress(record.group)
    const known = groups.get(key)
    const hostKey = formatMac(one.mac)
    const isNewToHost = known?.hosts.has(hostKey) !== true && asks(record)
    if (isNewToHost && (groupsByHost.get(hostKey) ?? 0) >= terms.maximumGroupsPerHost)
      return 'too-many-groups-of-host'
    if (known !== undefined) return known
    // Nothing to leave, and nothing that is wanted.
    if (!asks(record)) return undefined
    if (groups.size >= terms.maximumGroups) return 'too-many-groups'
    const never = Number.NEGATIVE_INFINITY
    const group: Group = {
      key,
      address: record.group,
      state: emptyListenerState(),
      hosts: new Map(),
      untrackedUntil: never,
      olderUntil: never,
      oldestUntil: never,
      told: new Map(),
    }
    groups.set(key, group)
    return group
  }

  function take(
    record: GroupRecord,
    one: Reported,
    timing: MembershipTiming,
    now: Instant,
    refuse: (reason: RefusalReason, count?: number) => void,
  ): Question | undefined {
    // Every host reports some of these, and nobody routes them (RFC 3376 §6, RFC 3810 §6).
    if (isLinkScoped(record.group)) return undefined
    const reason = refusalOf(record, one)
    if (reason !== undefined) return void refuse(reason)
    const group = groupOf(record, one)
    if (group === undefined) return undefined
    if (typeof group === 'string') return void refuse(group)
    if (record.type === 'mode-is-exclude') noteVersion(group, one.version, timing, now)
    const adapted = inTermsOf(versionOf(group, now), record)
    if (adapted === undefined) return undefined
    const usable = adapted.sources.filter(
      (source) => !isMulticast(source) && !isUnspecified(source),
    )
    const until = now + membershipMs(timing)
    track(group, one, { ...adapted, sources: usable }, until)
    const limits = { membershipMs: membershipMs(timing), maximumSources: terms.maximumSources }
    const { ask, refused } = applyRecord(group.state, adapted.type, usable, now, limits)
    if (refused > 0) refuse('too-many-sources', refused)
    const isFast = terms.fastLeave && isTracked(group, now) && takesAway(record)
    if (isFast) leaveToTracked(group, now)
    settle(group, now)
    return isFast || !groups.has(group.key) ? undefined : { key: group.key, ...ask }
  }

  function noteVersion(
    group: Group,
    version: number,
    timing: MembershipTiming,
    now: Instant,
  ): void {
    if (version === terms.newest) return
    const until = now + olderHostMs(timing)
    if (version === terms.newest - 1) group.olderUntil = until
    else group.oldestUntil = until
    group.untrackedUntil = until
  }

  return {
    report(one, timing, now) {
      const refused = new Map<RefusalReason, number>()
      const refuse = (reason: RefusalReason, count = 1): undefined => {
        refused.set(reason, (refused.get(reason) ?? 0) + count)
        return undefined
      }
      const questions: Question[] = []
      for (const record of one.records) {
        const question = take(record, one, timing, now, refuse)
        if (question !== undefined && (question.group || question.sources.length > 0))
          questions.push(question)
      }
      return { questions, refused }
    },
    drop(isGone, now) {
      const questions: Question[] = []
      for (const group of [...groups.values()]) {
        const gone = [...group.hosts].filter(([, host]) => isGone(host))
        if (gone.length === 0) continue
        for (const [hostKey] of gone) forgetHost(group, hostKey)
        if (isTracked(group, now)) leaveToTracked(group, now)
        else {
          // Somebody may have kept quiet because the one that is gone had spoken.
          const limits = { membershipMs: 0, maximumSources: terms.maximumSources }
          const { ask } = applyRecord(group.state, 'change-to-include', [], now, limits)
          questions.push({ key: group.key, ...ask })
        }
        settle(group, now)
      }
      return questions
    },
    state: (key) => groups.get(key)?.state,
    group: (key) => groups.get(key)?.address,
    touched(key, now) {
      const group = groups.get(key)
      if (group !== undefined) settle(group, now)
    },
    groupsOf(mac, limit) {
      const found: MulticastGroup[] = []
      for (const group of groups.values()) {
        const host = group.hosts.get(formatMac(mac))
        if (host === undefined) continue
        for (const [name, source] of namesOf(group))
          if (wants(host, name) && found.length < limit)
            found.push({ instanceId: terms.instanceId, source, group: group.address })
      }
      return found
    },
    handleDeadline(now) {
      for (const key of deadlines.due(now)) {
        const group = groups.get(key)
        if (group !== undefined) settle(group, now)
      }
    },
    deadline: () => deadlines.next(),
    views: (now) => [...groups.values()].map((group) => viewOf(group, now)),
    counts: () => ({ groups: groups.size, hosts: groupsByHost.size }),
  }

  function viewOf(group: Group, now: Instant): ListenerView {
    const { state, hosts, address } = group
    const sources = [...state.sources]
    const wanted = sources.filter(([, { until }]) => until !== undefined)
    const until = [...wanted.map(([, one]) => one.until ?? 0), state.until]
    return {
      interfaceName: terms.interfaceName,
      instanceId: terms.instanceId,
      group: formatIpAddress(address),
      mode: state.mode,
      sources: wanted.map(([key]) => key),
      excluded: sources.filter(([, one]) => one.until === undefined).map(([key]) => key),
      hosts: [...hosts.values()].slice(0, MAXIMUM_SHOWN).map(nameOf),
      hostCount: hosts.size,
      version: versionOf(group, now),
      expiresInMs: Math.max(0, Math.max(...until) - now),
    }
  }
}

/** RFC 4607 §1: 232/8 and ff3x::/32. */
export function isSourceSpecific({ family, bytes }: IpAddress): boolean {
  if (family === 4) return bytes[0] === 232
  return (bytes[1]! & 0xf0) === 0x30 && bytes[2] === 0 && bytes[3] === 0
}

/** Whether a record wants anything: it may make a group. */
function asks({ type, sources }: GroupRecord): boolean {
  if (type === 'mode-is-exclude' || type === 'change-to-exclude') return true
  return type !== 'block-old-sources' && sources.length > 0
}

function takesAway({ type }: GroupRecord): boolean {
  return type === 'change-to-include' || type === 'block-old-sources'
}

/** Who has no address is called by its MAC. */
function nameOf({ address, mac }: TrackedHost): string {
  return isUnspecified(address) ? formatMac(mac) : formatIpAddress(address)
}

/** Hosts with this MAC, or with this address: those of an endpoint. */
export function isHostOf(
  mac: MacAddress | undefined,
  address: IpAddress,
): (host: TrackedHost) => boolean {
  return (host) =>
    (mac !== undefined && formatMac(host.mac) === formatMac(mac)) ||
    equalIpAddresses(host.address, address)
}
