/**
 * What a Map-Server keeps of groups over a restart: who receives what and from which relay, and who
 * offers itself as one.
 *
 * With it a restarted Map-Server says at once what it would have said without the restart, and takes new
 * receivers at once. Our choice: it wrote nothing down before, and had to be silent until all receivers
 * had registered again (72 s). Written when something changes, not with every refresh: what is restored
 * lives as long as if it had been registered at the restart. Followers are not kept: they ask each minute.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { parseGroup } from '../../lisp/multicast/multicast-group.js'
import type { Instant } from '../capabilities.js'
import type { StoredRecord } from '../stored-record.js'
import type { Addressee, GroupEntry, GroupTable } from './group-table.js'
import type { TreeNode } from './replication-tree.js'

type StoredReceiver = Extract<StoredRecord, { kind: 'group-receiver' }>

/** What is kept of a relay beside its place in the tree. */
export type StoredRelay = TreeNode & Addressee & { readonly site: string }

/** The receivers of this name of which the store knows nothing, or another relay; known afterwards. */
export function receiversToKeep(entry: GroupEntry, table: GroupTable): readonly StoredReceiver[] {
  const records: StoredReceiver[] = []
  for (const node of entry.members.values()) {
    const { owner, address, level, nonce } = node
    const below = table.relayAbove(entry.group, owner)
    if (entry.kept.get(owner) === (below ?? NONE)) continue
    entry.kept.set(owner, below ?? NONE)
    const about = { name: entry.key, owner, address, level, nonce }
    records.push({ kind: 'group-receiver', ...about, ...(below === undefined ? {} : { below }) })
  }
  return records
}

export function relayRecord(instanceId: number, relay: StoredRelay): StoredReceiver {
  const { owner, address, level, nonce, target, site, key, authenticationLength } = relay
  return {
    ...{ kind: 'group-receiver', name: relayName(instanceId), owner, address, level, nonce },
    relay: { target, site, keyId: key.keyId, authenticationLength },
  }
}

export function receiverRemoval(name: string, owner: string): StoredRecord {
  return { kind: 'group-receiver-removed', name, owner }
}

/** The offer of a relay for an instance. */
export function relayName(instanceId: number): string {
  return `[${instanceId}](*,*)`
}

/** Fills an empty table; what its limits or the configuration do not allow any more is left out. */
export function restoreGroups(
  table: GroupTable,
  records: readonly StoredRecord[],
  sites: NodeConfig['mapServer']['sites'],
  until: Instant,
): void {
  for (const record of records) {
    if (record.kind !== 'group-receiver') continue
    const { owner, address, level, nonce, below, relay } = record
    const node: TreeNode = { owner, address, level, nonce }
    if (relay === undefined) {
      const group = parseGroup(record.name)
      if (group === undefined || table.join(group, node, until) === 'full') continue
      // Who hangs elsewhere after the restart would lose packets, or get them twice.
      if (below !== undefined) table.hangBelow(group, owner, below)
      table.get(group)?.kept.set(owner, below ?? NONE)
      continue
    }
    const instance = RELAY_NAME.exec(record.name)?.[1]
    const site = sites.find(({ name }) => name === relay.site)
    const key = site?.keys.find(({ keyId }) => keyId === relay.keyId)
    if (instance === undefined || key === undefined || site?.multicastRelay !== true) continue
    const { target, authenticationLength } = relay
    table.offer(Number(instance), { ...node, target, key, authenticationLength }, until)
  }
  // What each was told is not known: all are told again, relays also that nothing is left for them.
  for (const entry of table.entries())
    for (const { owner } of table.relaysOf(entry.group.instanceId)) {
      entry.relays.add(owner)
      entry.told.set(owner, NOT_KNOWN)
    }
}

/** In `kept`: below no relay. */
const NONE = ''
const RELAY_NAME = /^\[(\d{1,8})\]\(\*,\*\)$/
/** No text of a list. */
const NOT_KNOWN = '?'
