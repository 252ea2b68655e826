/**
 * The maps that only closed networks use: facts about mappings, nonces asked for, refused senders.
 *
 * What an earlier run left is removed at start: a node puts again what it knows, and until then nothing
 * is said and nothing compared. Programs that ran meanwhile have gone on with it.
 */
import type { ClosedOperation } from '../control/closed-network/closed-vocabulary.js'
import type { EidPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import {
  encodeBpfMappingFacts,
  encodeBpfRefusedKey,
  encodeBpfRlocKey,
  MAPPING_FACTS_FLAGS,
} from './abi.generated.js'
import { type BpfMaps, u32Key } from './bpf-maps.js'
import { eidPrefixKey, keyText } from './eid-keys.js'
import { createFreeIds } from './free-ids.js'

export interface ClosedTables {
  /** Throws what the map says when it is full. */
  perform(operation: ClosedOperation): void
}

/** As many as the map `own_facts` has elements. */
const MAXIMUM_IDS = 65_536
const MAPS = ['own_facts', 'remote_facts', 'nonce_requests', 'refused_senders']

export function createClosedTables(
  maps: Pick<BpfMaps, 'update' | 'remove' | 'read'>,
): ClosedTables {
  const freeIds = createFreeIds(MAXIMUM_IDS)
  /** Of our own mappings, by key. */
  const ids = new Map<string, number>()
  for (const map of MAPS) empty(maps, map)

  function putFacts(one: Extract<ClosedOperation, { kind: 'put-mapping-facts' }>): void {
    const key = eidPrefixKey(one.eidPrefix)
    const id = one.side === 'own' ? (ids.get(keyText(key)) ?? freeIds.allocate()) : 0
    if (id === undefined) throw new Error('table-full')
    const flags =
      (one.mapVersion !== undefined ? MAPPING_FACTS_FLAGS['version'] : 0) |
      (one.statusBits !== undefined ? MAPPING_FACTS_FLAGS['status-bits'] : 0) |
      (one.dropStale ? MAPPING_FACTS_FLAGS['drop-stale'] : 0)
    const [mapVersion, statusBits] = [one.mapVersion ?? 0, (one.statusBits ?? 0) & 0xff]
    maps.update(
      `${one.side}_facts`,
      key,
      encodeBpfMappingFacts({ id, mapVersion, statusBits, flags }),
    )
    if (one.side === 'own') ids.set(keyText(key), id)
  }

  function refuse(eidPrefix: EidPrefix, sender: Rloc, refused: boolean): void {
    const factsId = ids.get(keyText(eidPrefixKey(eidPrefix)))
    if (factsId === undefined) return
    const key = encodeBpfRefusedKey({ factsId, sender: bpfRloc(sender) })
    if (refused) maps.update('refused_senders', key, u32Key(1))
    else maps.remove('refused_senders', key)
  }

  return {
    perform(operation) {
      switch (operation.kind) {
        case 'put-mapping-facts':
          return putFacts(operation)
        case 'delete-mapping-facts': {
          const key = eidPrefixKey(operation.eidPrefix)
          maps.remove(`${operation.side}_facts`, key)
          const id = operation.side === 'own' ? ids.get(keyText(key)) : undefined
          if (id === undefined) return
          ids.delete(keyText(key))
          freeIds.free(id)
          return
        }
        case 'request-nonce-echo': {
          const key = encodeBpfRlocKey(bpfRloc(operation.rloc))
          if (operation.nonce === undefined) maps.remove('nonce_requests', key)
          else maps.update('nonce_requests', key, u32Key(operation.nonce))
          return
        }
        case 'refuse-stale-version':
          return refuse(operation.eidPrefix, operation.sender, operation.refused)
      }
    },
  }
}

function bpfRloc(rloc: Rloc) {
  const address = new Uint8Array(16)
  address.set(rloc.bytes)
  return { family: rloc.family, address }
}

function empty(maps: Pick<BpfMaps, 'remove' | 'read'>, map: string): void {
  const { count, keys } = maps.read(map)
  const keyBytes = count === 0 ? 0 : keys.length / count
  for (let index = 0; index < count; index += 1)
    maps.remove(map, new Uint8Array(keys.subarray(index * keyBytes, (index + 1) * keyBytes)))
}
