/**
 * The Map-Server's part in multicast (RFC 8378): receivers register, lists are merged and published.
 *
 * Supported standards: RFC 8378 §5.1.3 (merge by xTR, a later registration replaces, each ages alone), §5.3
 * (every change goes to the Source-ITRs as Map-Notify), §8 (the receivers of (0/0,G) are part of every
 * (S,G)), §9 (relays; filtered replies: each replicator is told what it copies to itself). This file is
 * who registers; who is told stands in group-publication.ts, which relays are alive in relay-probes.ts.
 * Not implemented: telling a source whose Map-Server is another one (§5.3); each receiver
 * registers at every configured Map-Server instead.
 */
import type { NodeConfig, SiteConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress } from '../../lisp/address.js'
import type { AfiAddress } from '../../lisp/afi-address.js'
import { coversEid, type EidPrefix, parseEid } from '../../lisp/eid.js'
import { isUsableRloc, type Rloc } from '../../lisp/locator.js'
import type { StructuredMapping } from '../../lisp/mapping.js'
import type { MapRegister, MapReply } from '../../lisp/message.js'
import { formatGroup, groupOf, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { Registrations } from '../../tables/registrations.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { earliest } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { DurableOutputs, MapNotifyOutbox } from '../map-server/map-notify-outbox.js'
import type { EncapsulatedRequest } from '../map-server/map-request-answers.js'
import {
  type Admission,
  type Datagram,
  hexOf,
  type RegisterGuard,
} from '../map-server/register-guard.js'
import {
  type Speaker,
  type SubscriptionAdmission,
  siteKeyOwner,
} from '../map-server/subscription-admission.js'
import { report } from '../outputs.js'
import { createRateLimit } from '../rate-limit.js'
import type { StoredRecord } from '../stored-record.js'
import { createGroupAnswers } from './group-answers.js'
import {
  receiverRemoval,
  receiversToKeep,
  relayName,
  relayRecord,
  restoreGroups,
} from './group-memory.js'
import { createGroupPublication, textOf } from './group-publication.js'
import {
  type Addressee,
  createGroupTable,
  type GroupCounts,
  type GroupEntry,
} from './group-table.js'
import type { GroupView } from './group-views.js'
import { createRelayProbes } from './relay-probes.js'
import { entriesOf, RECEIVER_LEVEL } from './replication-list.js'
import { addressText, type TreeNode } from './replication-tree.js'

export interface GroupServer {
  /** A Map-Register whose records are about groups alone. */
  handleRegister(message: MapRegister, datagram: Datagram, now: Instant, outputs: Output[]): void
  /** True when the request is about groups; then it was answered or dropped with an event. */
  handleRequest(received: EncapsulatedRequest, now: Instant, outputs: Output[]): boolean
  /** This group's list has arrived at an addressee. */
  acknowledged(name: string, now: Instant, outputs: Output[]): void
  /** True when it answers a probe of a relay. */
  handleReply(reply: MapReply, now: Instant, outputs: Output[]): boolean
  /** A unicast registration has come, changed or gone: sources in it may be elsewhere. */
  sourceChanged(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): void
  /** After a restart: the receivers that were known, whose lists are told anew. */
  restore(records: readonly StoredRecord[], now: Instant): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(): GroupView[]
  counts(): GroupCounts
}

export interface GroupServerParts {
  readonly guard: RegisterGuard
  readonly outbox: MapNotifyOutbox
  readonly registrations: Registrations
  readonly admission: SubscriptionAdmission
}

/** HMACs tried per second for xTRs that are not known: an attacker's datagrams cost no more. */
const TRIALS = { burst: 2000, refillPerSecond: 2000, maximumKeys: 1 }
/** Withdrawals remembered, so that an overtaken registration does not undo them. */
const MAXIMUM_WITHDRAWN = 10_000
/** Records of one Map-Register that are looked at: all that it can have. */
const MAXIMUM_RECORDS = 255

export function createGroupServer(
  config: NodeConfig,
  capabilities: Capabilities,
  parts: GroupServerParts,
): GroupServer {
  const { guard, outbox, registrations, admission } = parts
  const { sites, registrationMs } = config.mapServer
  const table = createGroupTable(config.groupServer)
  const trials = createRateLimit(TRIALS)
  const withdrawn = new Map<string, bigint>()
  /** Groups whose lists may have changed. */
  const dirty = new Set<GroupEntry>()
  const probes = createRelayProbes(config, capabilities.random, {
    changed({ instanceIds }) {
      for (const one of instanceIds) for (const entry of table.ofInstance(one)) dirty.add(entry)
    },
  })
  const publication = createGroupPublication(config, {
    table,
    outbox,
    registrations,
    relaysOf: (instanceId) =>
      table.relaysOf(instanceId).filter(({ owner }) => !probes.isSilent(owner)),
  })
  /** Lists that were restored are told again as soon as time goes on. */
  let restoredAt: Instant | undefined
  /** What is to be kept over a restart, of the input that is being handled. */
  const kept: StoredRecord[] = []
  const answers = createGroupAnswers(config, capabilities, {
    admission,
    table,
    listFor: publication.recordFor,
    followed(entry, addressee, record) {
      entry.told.set(addressee.owner, textOf(record))
      // Relays of a name that nobody has asked for yet are to be told of it.
      dirty.add(entry)
    },
  })

  // ------------------------------------------------------------------ registrations

  function rejected(reason: string, datagram: Datagram, group: string, outputs: Output[]): void {
    const from = formatIpAddress(datagram.from)
    report(outputs, 'group-register-rejected', 'notice', { reason, from, group })
  }

  function admit(message: MapRegister, datagram: Datagram, now: Instant): Admission {
    const owner = message.identity === undefined ? '' : hexOf(message.identity.xtrId)
    const known = admission.known(owner)
    const own = sites.filter(({ name }) => siteKeyOwner(name) === known?.keyOwner)
    if (own.length > 0) return guard.admitFrom(own, message, datagram)
    const tried = sites.filter(() => trials.take('', now))
    return guard.admitFrom(tried, message, datagram)
  }

  /** The receiver that a record registers; a reason when it may not. */
  function nodeOf(
    record: StructuredMapping,
    about: { readonly owner: string; readonly nonce: bigint; readonly rlocs: readonly Rloc[] },
  ): TreeNode | string {
    const [first] = entriesOf(record).entries
    if (first === undefined) return 'no-entry'
    // Nobody may order copies for others: the way must end at an RLOC of the xTR itself.
    const end = endOf(first.address)
    if (end === undefined || !isUsableRloc(end)) return 'unusable-rloc'
    if (!about.rlocs.some((one) => equalIpAddresses(one, end))) return 'foreign-rloc'
    const { owner, nonce } = about
    return { owner, address: first.address, level: first.level, nonce }
  }

  function apply(
    record: StructuredMapping,
    about: Registering,
    now: Instant,
    outputs: Output[],
  ): void {
    const { site, owner, nonce, datagram } = about
    const offered = relayInstanceOf(record)
    if (offered !== undefined) {
      applyRelay(record, offered, about, now, outputs)
      return
    }
    const group = groupOf(record.eid)
    if (group === undefined) {
      rejected('unsupported-group', datagram, '', outputs)
      return
    }
    const key = formatGroup(group)
    if (!site.prefixes.some(({ eidPrefix }) => eidPrefix.instanceId === group.instanceId)) {
      rejected('foreign-instance', datagram, key, outputs)
      return
    }
    const there = table.get(group)?.members.get(owner)
    const last = there?.nonce ?? withdrawn.get(`${key} ${owner}`)
    if (about.late && last !== undefined && last > nonce) {
      rejected('overtaken', datagram, key, outputs)
      return
    }
    // RFC 8378 names no way to withdraw: TTL 0 or no locators, with a=1, of this xTR alone.
    if (record.ttlMinutes === 0 || record.locators.length === 0) {
      remember(`${key} ${owner}`, nonce)
      if (!table.leave(group, owner)) return
      kept.push(receiverRemoval(key, owner))
      report(outputs, 'group-withdrawn', 'info', { group: key, owner })
      markDirty(group)
      return
    }
    const node = nodeOf(record, about)
    if (typeof node === 'string') {
      rejected(node, datagram, key, outputs)
      return
    }
    const receiver = { ...node, level: RECEIVER_LEVEL }
    const outcome = table.join(group, receiver, now + registrationMs)
    if (outcome === 'full') {
      rejected('too-many-members', datagram, key, outputs)
      return
    }
    if (outcome === 'same') return
    report(outputs, 'group-registered', 'info', {
      group: key,
      owner,
      rloc: addressText(node.address),
      members: table.get(group)?.members.size,
    })
    markDirty(group)
  }

  function applyRelay(
    record: StructuredMapping,
    instanceId: number,
    about: Registering,
    now: Instant,
    outputs: Output[],
  ): void {
    const { site, owner, datagram, addressee } = about
    const name = relayName(instanceId)
    if (site.multicastRelay !== true) {
      rejected('no-relay', datagram, name, outputs)
      return
    }
    const withdraws = record.ttlMinutes === 0 || record.locators.length === 0
    const node = withdraws ? undefined : nodeOf(record, about)
    if (typeof node === 'string') {
      rejected(node, datagram, name, outputs)
      return
    }
    if (node !== undefined && (node.level === 0 || node.level >= RECEIVER_LEVEL)) {
      rejected('bad-level', datagram, name, outputs)
      return
    }
    const changed =
      node === undefined
        ? table.withdrawOffer(instanceId, owner)
        : table.offer(instanceId, { ...addressee, ...node }, now + registrationMs)
    if (node === undefined) probes.forget(owner, instanceId)
    else probes.watch(addressee, instanceId, now)
    if (!changed) return
    const relay = node && { ...addressee, ...node, site: site.name }
    kept.push(relay ? relayRecord(instanceId, relay) : receiverRemoval(name, owner))
    const what = node === undefined ? 'group-withdrawn' : 'group-registered'
    report(outputs, what, 'info', { group: name, owner, reason: 'relay' })
    for (const entry of table.ofInstance(instanceId)) dirty.add(entry)
  }

  function remember(key: string, nonce: bigint): void {
    withdrawn.delete(key)
    withdrawn.set(key, nonce)
    if (withdrawn.size <= MAXIMUM_WITHDRAWN) return
    for (const oldest of withdrawn.keys()) if (withdrawn.delete(oldest)) break
  }

  function markDirty(group: MulticastGroup): void {
    for (const entry of table.dependants(group)) dirty.add(entry)
    // Sources that are registered are told of their first receiver, whoever asked or not.
    const own = table.get(group)
    if (own !== undefined) dirty.add(own)
  }

  function flush(now: Instant, outputs: Output[]): void {
    const durable: DurableOutputs = { records: [], then: [] }
    for (const entry of dirty) {
      publication.publish(entry, now, durable)
      kept.push(...receiversToKeep(entry, table))
    }
    dirty.clear()
    if (kept.length > 0) outputs.push({ kind: 'persist', records: kept.splice(0), then: [] })
    perform(durable, outputs)
  }

  return {
    handleRegister(message, datagram, now, outputs) {
      const verdict = admit(message, datagram, now)
      const records = message.structuredRecords ?? []
      if (!verdict.ok) {
        rejected(verdict.reason, datagram, '', outputs)
        return
      }
      if (verdict.repeated) return rejected('repeated', datagram, '', outputs)
      guard.accept(verdict, message)
      const speaker = speakerOf(message, datagram, verdict, admission.known(verdict.owner))
      if (message.identity !== undefined) admission.heard(speaker)
      const { owner, late, site, key } = verdict
      const target = datagram.from
      const length = message.authenticationData.length
      const addressee = { owner, target, key, authenticationLength: length }
      const { nonce } = message
      const about = { site, owner, nonce, late, datagram, rlocs: speaker.rlocs, addressee }
      if (!message.mergeRequest) {
        rejected('no-merge', datagram, '', outputs)
        return
      }
      for (const record of records.slice(0, MAXIMUM_RECORDS)) apply(record, about, now, outputs)
      flush(now, outputs)
    },
    handleRequest(received, now, outputs) {
      const outcome = answers.handleRequest(received, now, outputs)
      flush(now, outputs)
      return outcome
    },
    acknowledged(name, now, outputs) {
      const durable: DurableOutputs = { records: [], then: [] }
      publication.acknowledged(name, now, durable)
      perform(durable, outputs)
    },
    handleReply(reply, now, outputs) {
      if (!probes.handleReply(reply, now, outputs)) return false
      flush(now, outputs)
      return true
    },
    sourceChanged(eidPrefix, now, outputs) {
      for (const text of table.sources()) {
        const eid = parseEid(text)
        if (eid === undefined || !coversEid(eidPrefix, eid)) continue
        for (const entry of table.ofSource(eid)) dirty.add(entry)
      }
      flush(now, outputs)
    },
    restore(records, now) {
      restoreGroups(table, records, sites, now + registrationMs)
      for (const { instanceId, relay } of table.relays()) probes.watch(relay, instanceId, now)
      for (const entry of table.entries()) dirty.add(entry)
      if (dirty.size > 0) restoredAt = now
    },
    handleDeadline(now, outputs) {
      restoredAt = undefined
      for (const gone of table.expire(now)) {
        if (gone.kind === 'follower') continue
        const name = gone.kind === 'relay' ? relayName(gone.instanceId) : formatGroup(gone.group)
        kept.push(receiverRemoval(name, gone.owner))
        report(outputs, 'group-expired', 'notice', { group: name, owner: gone.owner })
        if (gone.kind === 'member') markDirty(gone.group)
        else {
          probes.forget(gone.owner, gone.instanceId)
          for (const entry of table.ofInstance(gone.instanceId)) dirty.add(entry)
        }
      }
      const durable: DurableOutputs = { records: [], then: [] }
      publication.handleDeadline(now, durable)
      perform(durable, outputs)
      probes.handleDeadline(now, outputs)
      flush(now, outputs)
    },
    deadline: () =>
      earliest(table.deadline(), publication.deadline(), probes.deadline(), restoredAt),
    views: () => [...table.entries()].map((entry) => viewOf(entry)),
    counts: () => table.counts(),
  }

  function viewOf(entry: GroupEntry): GroupView {
    const receivers = table.receiversOf(entry)
    return {
      group: entry.key,
      instanceId: entry.group.instanceId,
      side: 'map-server',
      listeners: 0,
      interfaces: [],
      registered: entry.members.size > 0,
      followed: entry.followers.size > 0,
      copies: receivers.slice(0, MAXIMUM_SHOWN).map(({ address }) => addressText(address)),
      level: 0,
      members: receivers.length,
    }
  }
}

interface Registering {
  readonly site: SiteConfig
  readonly owner: string
  readonly nonce: bigint
  readonly late: boolean
  readonly datagram: Datagram
  readonly rlocs: readonly Rloc[]
  readonly addressee: Addressee
}

const MAXIMUM_SHOWN = 64
/** RLOCs of one xTR that are remembered. */
const MAXIMUM_RLOCS = 64

/** The speaker that a register about groups shows, beside what is known of it already. */
function speakerOf(
  message: MapRegister,
  datagram: Datagram,
  verdict: Extract<Admission, { ok: true }>,
  known: Speaker | undefined,
): Speaker {
  const rlocs = [datagram.from, ...(known?.rlocs ?? [])]
  const distinct = new Map(rlocs.map((one) => [formatIpAddress(one), one]))
  return {
    xtrId: verdict.owner,
    siteId: message.identity?.siteId,
    rlocs: [...distinct.values()].slice(0, MAXIMUM_RLOCS),
    key: verdict.key,
    keyOwner: siteKeyOwner(verdict.site.name),
    authenticationLength: message.authenticationData.length,
  }
}

/** RFC 8060 §4.7 with both mask lengths 0: the offer of a relay for an instance. */
function relayInstanceOf({ eid }: StructuredMapping): number | undefined {
  if (eid.kind !== 'multicast-info') return undefined
  return eid.sourceMaskLength === 0 && eid.groupMaskLength === 0 ? eid.instanceId : undefined
}

/** The RLOC where a copy ends: the last hop of a path. */
function endOf(address: AfiAddress): Rloc | undefined {
  if (address.kind === 'ip') return address.address
  if (address.kind !== 'explicit-locator-path') return undefined
  const last = address.hops.at(-1)
  return last === undefined ? undefined : endOf(last.address)
}

function perform({ records, then }: DurableOutputs, outputs: Output[]): void {
  if (records.length > 0) outputs.push({ kind: 'persist', records, then })
  else outputs.push(...then)
}
