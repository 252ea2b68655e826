/**
 * Who copies to whom, for one group: the sources' ITRs to everybody, or over relays (RFC 8378 §9).
 *
 * Up to `fanOut` receivers an ITR copies to all of them. Beyond it, and once there are relays, receivers
 * hang below the relays of the highest level, these below those of the level before, and an ITR copies to
 * the relays of the lowest level only. A receiver stays where it is until it leaves or its relay does:
 * whoever moved would lose packets or get them twice, and so the group does not go back to direct copies
 * before it is empty (our choice). A newcomer goes to the relay with the fewest below it.
 */
import { formatIpAddress } from '../../lisp/address.js'
import type { AfiAddress, ReplicationEntry } from '../../lisp/afi-address.js'
import { RECEIVER_LEVEL } from './replication-list.js'

/** Somebody who gets copies. */
export interface TreeNode {
  /** xTR-ID. */
  readonly owner: string
  readonly address: AfiAddress
  readonly level: number
  /** Of the Map-Register that said so. */
  readonly nonce: bigint
}

export interface ReplicationTree {
  /** Arranges these receivers below these relays. */
  arrange(receivers: readonly TreeNode[], relays: readonly TreeNode[]): void
  /** What an ITR copies to. */
  rootEntries(): readonly ReplicationEntry[]
  /** What this relay copies to; empty for who is no relay of the group. */
  relayEntries(owner: string): readonly ReplicationEntry[]
  /** Relays with anything below them. */
  relaysInUse(): readonly string[]
}

/**
 * @param parents child → relay (`level owner` → owner), shared by all names of one group: a receiver
 * hangs below the same relay whatever the source, so that a relay that knows only (*,G) is right too
 */
export function createReplicationTree(
  fanOut: number,
  parents: Map<string, string>,
): ReplicationTree {
  let isTree = false
  let root: readonly TreeNode[] = []
  let children = new Map<string, TreeNode[]>()

  /** Hangs `nodes` below `relays`; where a node was, it stays. */
  function hang(nodes: readonly TreeNode[], relays: readonly TreeNode[]): Map<string, TreeNode[]> {
    const below = new Map<string, TreeNode[]>(relays.map(({ owner }) => [owner, []]))
    const homeless: TreeNode[] = []
    for (const node of nodes) {
      const there = below.get(parents.get(nameOf(node)) ?? '')
      if (there === undefined) homeless.push(node)
      else there.push(node)
    }
    const order = [...below]
    for (const node of homeless) {
      const least = order.reduce((best, one) => (one[1].length < best[1].length ? one : best))
      least[1].push(node)
      parents.set(nameOf(node), least[0])
    }
    for (const [owner, list] of below) if (list.length === 0) below.delete(owner)
    return below
  }

  return {
    arrange(receivers, relays) {
      const levels = [...new Set(relays.map(({ level }) => level))].sort((a, b) => b - a)
      isTree = levels.length > 0 && receivers.length > 0 && (isTree || receivers.length > fanOut)
      if (!isTree) {
        children = new Map()
        root = receivers
        return
      }
      const next = new Map<string, TreeNode[]>()
      let nodes = receivers
      for (const level of levels) {
        const here = relays.filter((one) => one.level === level)
        const below = hang(nodes, here)
        for (const [owner, list] of below) next.set(owner, list)
        nodes = here.filter(({ owner }) => below.has(owner))
      }
      children = next
      root = nodes
    },
    rootEntries: () => root.map(entryOf),
    relayEntries: (owner) => (children.get(owner) ?? []).map(entryOf),
    relaysInUse: () => [...children.keys()],
  }
}

/** Equal addresses have equal text. */
export function addressText(address: AfiAddress): string {
  if (address.kind === 'ip') return formatIpAddress(address.address)
  return JSON.stringify(address, (_name, value) => {
    return value instanceof Uint8Array ? [...value] : value
  })
}

/** The key of a node in `parents`. */
export function nameOf({ level, owner }: Pick<TreeNode, 'level' | 'owner'>): string {
  return `${level} ${owner}`
}

function entryOf({ level, address }: TreeNode): ReplicationEntry {
  return { level: Math.min(level, RECEIVER_LEVEL), address }
}
