/**
 * What a Map-Server knows of groups: receivers by group and xTR, relays by instance, followers by group.
 *
 * Merge semantics of RFC 8378 §5.1.3: each xTR has one place in a group, a later registration of it
 * replaces the former one, and each ages on its own. Every table has a limit; who comes beyond it is
 * refused. What the lists look like is decided in replication-tree.ts, who is told in group-server.ts.
 */
import type { AuthenticationKey } from '../../lisp/authentication.js'
import { type Eid, formatEid } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import {
  anySource,
  formatGroup,
  type MulticastGroup,
} from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import { createDeadlines } from '../deadlines.js'
import { RECEIVER_LEVEL } from './replication-list.js'
import {
  addressText,
  createReplicationTree,
  nameOf,
  type ReplicationTree,
  type TreeNode,
} from './replication-tree.js'

/** Whom lists are sent to, and with which key. */
export interface Addressee {
  /** xTR-ID, or an RLOC of the sender as text. */
  readonly owner: string
  readonly target: Rloc
  readonly key: AuthenticationKey
  readonly authenticationLength: number
}

export interface GroupEntry {
  readonly key: string
  readonly group: MulticastGroup
  readonly members: Map<string, TreeNode>
  readonly followers: Map<string, Addressee>
  readonly tree: ReplicationTree
  /** Rises with every change that anybody is told. */
  mapVersion: number
  /** Addressee → what it was told last. */
  readonly told: Map<string, string>
  /** Receivers that are in the store, each with the relay above it as it stands there. */
  readonly kept: Map<string, string>
  /** Relays that have something below them or had: they are told when that ends. */
  readonly relays: Set<string>
}

export interface GroupTable {
  /** Registers or refreshes; 'full' beyond a limit. `changed`: somebody's list may differ now. */
  join(group: MulticastGroup, node: TreeNode, until: Instant): 'changed' | 'same' | 'full'
  /** True when it was registered. */
  leave(group: MulticastGroup, owner: string): boolean
  follow(group: MulticastGroup, addressee: Addressee, until: Instant): 'new' | 'known' | 'full'
  unfollow(group: MulticastGroup, owner: string): void
  /** A relay for every group of the instance; true when it is new or has another address. */
  offer(instanceId: number, relay: TreeNode & Addressee, until: Instant): boolean
  withdrawOffer(instanceId: number, owner: string): boolean
  relaysOf(instanceId: number): readonly (TreeNode & Addressee)[]
  /** Of all instances. */
  relays(): readonly { readonly instanceId: number; readonly relay: TreeNode & Addressee }[]
  /** The relay that copies to this receiver; undefined: none. */
  relayAbove(group: MulticastGroup, owner: string): string | undefined
  /** Where a receiver is to hang when it is arranged, if that relay is there then. */
  hangBelow(group: MulticastGroup, owner: string, relay: string): void
  get(group: MulticastGroup): GroupEntry | undefined
  byKey(key: string): GroupEntry | undefined
  /** The entry, made when missing; undefined when there are too many groups. */
  open(group: MulticastGroup): GroupEntry | undefined
  /** Every name whose receivers depend on this one: itself, and all (S,G) of a (*,G). */
  dependants(group: MulticastGroup): readonly GroupEntry[]
  ofInstance(instanceId: number): readonly GroupEntry[]
  /** Names with this source. */
  ofSource(source: Eid): readonly GroupEntry[]
  /** Forgets an entry that nobody is in any more and nobody must be told of. */
  tidy(entry: GroupEntry): void
  /** Canonical text of the sources that names have. */
  sources(): IterableIterator<string>
  /** Receivers of a name: its own and those of (*,G), each xTR once. */
  receiversOf(entry: GroupEntry): readonly TreeNode[]
  expire(now: Instant): readonly Expired[]
  deadline(): Instant | undefined
  entries(): IterableIterator<GroupEntry>
  counts(): GroupCounts
}

export interface GroupCounts {
  readonly groups: number
  readonly members: number
  readonly followers: number
  readonly relays: number
}

export type Expired =
  | { readonly kind: 'member'; readonly group: MulticastGroup; readonly owner: string }
  | { readonly kind: 'follower'; readonly group: MulticastGroup; readonly owner: string }
  | { readonly kind: 'relay'; readonly instanceId: number; readonly owner: string }

export interface GroupLimits {
  readonly fanOut: number
  readonly maximumMembers: number
  readonly maximumMembersPerGroup: number
}

/** Relays of one instance. */
const MAXIMUM_RELAYS = 4096

export function createGroupTable(limits: GroupLimits): GroupTable {
  const entries = new Map<string, GroupEntry>()
  /** (*,G) → the names of that group. */
  const byGroup = new Map<string, Set<GroupEntry>>()
  /** (*,G) → who hangs below whom. */
  const parents = new Map<string, Map<string, string>>()
  /** Source → its names. */
  const bySource = new Map<string, Set<GroupEntry>>()
  const relays = new Map<number, Map<string, TreeNode & Addressee>>()
  const expiring = new Map<string, Expired>()
  const deadlines = createDeadlines()
  let members = 0
  let followers = 0

  function until(about: Expired, at: Instant): void {
    const id = idOf(about)
    expiring.set(id, about)
    deadlines.set(id, at)
  }

  function done(about: Expired): void {
    const id = idOf(about)
    expiring.delete(id)
    deadlines.cancel(id)
  }

  function open(group: MulticastGroup): GroupEntry | undefined {
    const key = formatGroup(group)
    const known = entries.get(key)
    if (known !== undefined) return known
    if (entries.size >= limits.maximumMembers) return undefined
    const entry: GroupEntry = {
      key,
      group,
      members: new Map(),
      followers: new Map(),
      tree: createReplicationTree(limits.fanOut, parentsOf(anySource(group))),
      mapVersion: 1,
      told: new Map(),
      kept: new Map(),
      relays: new Set(),
    }
    entries.set(key, entry)
    const family = formatGroup(anySource(group))
    byGroup.set(family, (byGroup.get(family) ?? new Set()).add(entry))
    const source = sourceOf(group)
    if (source !== undefined) bySource.set(source, (bySource.get(source) ?? new Set()).add(entry))
    return entry
  }

  function parentsOf(family: MulticastGroup): Map<string, string> {
    const key = formatGroup(family)
    const known = parents.get(key) ?? new Map<string, string>()
    parents.set(key, known)
    return known
  }

  /** An entry is kept as long as somebody is in it, or must still be told. */
  function tidy(entry: GroupEntry): void {
    if (entry.members.size + entry.followers.size + entry.told.size > 0) return
    entries.delete(entry.key)
    const family = formatGroup(anySource(entry.group))
    drop(byGroup, family, entry)
    if (!byGroup.has(family)) parents.delete(family)
    drop(bySource, sourceOf(entry.group), entry)
  }

  function leave(group: MulticastGroup, owner: string): boolean {
    const entry = entries.get(formatGroup(group))
    if (entry === undefined || !entry.members.delete(owner)) return false
    members -= 1
    entry.kept.delete(owner)
    done({ kind: 'member', group, owner })
    const family = formatGroup(anySource(group))
    const remains = [...(byGroup.get(family) ?? [])].some((one) => one.members.has(owner))
    if (!remains) parents.get(family)?.delete(nameOf({ owner, level: RECEIVER_LEVEL }))
    tidy(entry)
    return true
  }

  function unfollow(group: MulticastGroup, owner: string): void {
    const entry = entries.get(formatGroup(group))
    if (entry === undefined || !entry.followers.delete(owner)) return
    entry.told.delete(owner)
    followers -= 1
    done({ kind: 'follower', group, owner })
    tidy(entry)
  }

  function withdrawOffer(instanceId: number, owner: string): boolean {
    done({ kind: 'relay', instanceId, owner })
    return relays.get(instanceId)?.delete(owner) === true
  }

  return {
    join(group, node, at) {
      const known = entries.get(formatGroup(group))?.members.get(node.owner)
      const entry = open(group)
      if (entry === undefined) return 'full'
      if (known === undefined) {
        const isFull =
          members >= limits.maximumMembers || entry.members.size >= limits.maximumMembersPerGroup
        if (isFull) {
          tidy(entry)
          return 'full'
        }
        members += 1
      }
      entry.members.set(node.owner, node)
      until({ kind: 'member', group, owner: node.owner }, at)
      if (known !== undefined && sameNode(known, node)) return 'same'
      entry.kept.delete(node.owner)
      return 'changed'
    },
    leave,
    follow(group, addressee, at) {
      const known = entries.get(formatGroup(group))?.followers.has(addressee.owner) === true
      if (!known && followers >= limits.maximumMembers) return 'full'
      const entry = open(group)
      if (entry === undefined) return 'full'
      if (!known) followers += 1
      entry.followers.set(addressee.owner, addressee)
      until({ kind: 'follower', group, owner: addressee.owner }, at)
      return known ? 'known' : 'new'
    },
    unfollow,
    offer(instanceId, relay, at) {
      const there = relays.get(instanceId) ?? new Map<string, TreeNode & Addressee>()
      const known = there.get(relay.owner)
      if (known === undefined && there.size >= MAXIMUM_RELAYS) return false
      relays.set(instanceId, there.set(relay.owner, relay))
      until({ kind: 'relay', instanceId, owner: relay.owner }, at)
      return known === undefined || !sameNode(known, relay)
    },
    withdrawOffer,
    relaysOf: (instanceId) => [...(relays.get(instanceId)?.values() ?? [])],
    relays: () =>
      [...relays].flatMap(([instanceId, there]) =>
        [...there.values()].map((relay) => ({ instanceId, relay })),
      ),
    relayAbove: (group, owner) =>
      parents.get(formatGroup(anySource(group)))?.get(nameOf({ owner, level: RECEIVER_LEVEL })),
    hangBelow(group, owner, relay) {
      parentsOf(anySource(group)).set(nameOf({ owner, level: RECEIVER_LEVEL }), relay)
    },
    get: (group) => entries.get(formatGroup(group)),
    byKey: (key) => entries.get(key),
    open,
    dependants(group) {
      if (group.source === undefined) return [...(byGroup.get(formatGroup(group)) ?? [])]
      const entry = entries.get(formatGroup(group))
      return entry === undefined ? [] : [entry]
    },
    ofInstance: (instanceId) =>
      [...entries.values()].filter((entry) => entry.group.instanceId === instanceId),
    ofSource: (eid) => [...(bySource.get(formatEid(eid)) ?? [])],
    sources: () => bySource.keys(),
    tidy,
    receiversOf(entry) {
      const own = [...entry.members.values()]
      if (entry.group.source === undefined) return distinct(own)
      const wide = entries.get(formatGroup(anySource(entry.group)))
      if (wide === undefined) return distinct(own)
      const others = [...wide.members.values()].filter(({ owner }) => !entry.members.has(owner))
      return distinct([...own, ...others])
    },
    expire(now) {
      const gone: Expired[] = []
      for (const id of deadlines.due(now)) {
        const about = expiring.get(id)
        if (about === undefined) continue
        gone.push(about)
        if (about.kind === 'member') leave(about.group, about.owner)
        else if (about.kind === 'follower') unfollow(about.group, about.owner)
        else withdrawOffer(about.instanceId, about.owner)
      }
      return gone
    },
    deadline: () => deadlines.next(),
    entries: () => entries.values(),
    counts() {
      let count = 0
      for (const there of relays.values()) count += there.size
      return { groups: entries.size, members, followers, relays: count }
    },
  }
}

function sameNode(a: TreeNode, b: TreeNode): boolean {
  return a.level === b.level && addressText(a.address) === addressText(b.address)
}

/** One packet for one address: what two xTRs have registered counts once. */
function distinct(nodes: readonly TreeNode[]): readonly TreeNode[] {
  const seen = new Set<string>()
  return nodes.filter(({ address }) => {
    const text = addressText(address)
    return !seen.has(text) && seen.add(text)
  })
}

function sourceOf({ instanceId, source }: MulticastGroup): string | undefined {
  return source === undefined ? undefined : formatEid({ instanceId, address: source })
}

function drop(
  index: Map<string, Set<GroupEntry>>,
  key: string | undefined,
  entry: GroupEntry,
): void {
  const there = key === undefined ? undefined : index.get(key)
  there?.delete(entry)
  if (key !== undefined && there?.size === 0) index.delete(key)
}

function idOf(about: Expired): string {
  if (about.kind === 'relay') return `relay ${about.instanceId} ${about.owner}`
  return `${about.kind} ${formatGroup(about.group)} ${about.owner}`
}
