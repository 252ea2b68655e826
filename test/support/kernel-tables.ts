/**
 * What stands in the kernel's maps of a node, beside what its control plane believes.
 *
 * Reads the pinned maps as another process would, without asking the daemon. Equal means: the same
 * prefixes, the same state or action; beyond that the datapath may only know its own addresses.
 */
import { loadConfig } from '../../src/config/load.js'
import {
  decodeBpfLocalEid,
  decodeBpfMapCacheEntry,
  LOCAL_EID_STATE,
  MAP_CACHE_ACTION,
} from '../../src/datapath/abi.generated.js'
import { createBpfMaps } from '../../src/datapath/bpf-maps.js'
import { openDatapathObject } from '../../src/datapath/bpf-setup.js'
import { eidOfKey, eidPrefixOfKey } from '../../src/datapath/eid-keys.js'
import { loadNativeAddon } from '../../src/datapath/native-addon.js'
import { listIn } from '../../src/lab/api-request.js'
import { formatEidPrefix, hostPrefix } from '../../src/lisp/eid.js'
import { configPath } from './daemon-control.js'
import type { RunningLab } from './running-lab.js'

export interface KernelTables {
  /** `[7]10.10.0.5/32` → 'local', 'standby', 'away', 'prefix', … */
  readonly localEids: ReadonlyMap<string, string>
  /** `[7]10.20.0.0/24` → 'forward', 'native', 'hold', … */
  readonly mapCache: ReadonlyMap<string, string>
}

export function readKernelTables(lab: RunningLab, node: string): KernelTables {
  const loaded = loadConfig(configPath(lab, node))
  if (!loaded.ok) throw new Error(`configuration of ${node} is not valid`)
  const addon = loadNativeAddon()
  const object = openDatapathObject(loaded.config, addon)
  const maps = createBpfMaps(addon, object)
  try {
    const table = (name: string, nameOf: (value: Uint8Array) => string): Map<string, string> => {
      const found = new Map<string, string>()
      for (const kind of ['hosts', 'prefixes'] as const) {
        const { count, keys, values } = maps.read(`${name}_${kind}`)
        if (count === 0) continue
        const [keyBytes, valueBytes] = [keys.length / count, values.length / count]
        for (let index = 0; index < count; index++) {
          const eid = kind === 'hosts' ? eidOfKey(keys, index * keyBytes) : undefined
          const prefix = eid ? hostPrefix(eid) : eidPrefixOfKey(keys, index * keyBytes)
          const value = values.subarray(index * valueBytes, (index + 1) * valueBytes)
          found.set(prefix ? formatEidPrefix(prefix) : `unreadable ${index}`, nameOf(value))
        }
      }
      return found
    }
    return {
      localEids: table('local_eid', (value) =>
        nameIn(LOCAL_EID_STATE, decodeBpfLocalEid(value).state),
      ),
      mapCache: table('map_cache', (value) =>
        nameIn(MAP_CACHE_ACTION, decodeBpfMapCacheEntry(value).action),
      ),
    }
  } finally {
    addon.closeObject(object)
  }
}

/**
 * Every difference between the kernel and the control plane of `node`, one sentence each. `own` are
 * the gateway addresses of the node inside its dynamic-EID prefixes, which only the datapath knows.
 */
export async function tableDifferences(
  lab: RunningLab,
  node: string,
  own: readonly string[],
): Promise<string[]> {
  const kernel = readKernelTables(lab, node)
  const database = listIn((await lab.api(node, '/v1/mapping-database')).body)
  const cache = listIn((await lab.api(node, '/v1/map-cache')).body)
  const localEids = new Map(
    database.map(({ eidPrefix, state, kind }) => [
      String(eidPrefix),
      kind === 'dynamic-prefix' ? 'prefix' : String(state),
    ]),
  )
  const mapCache = new Map(
    cache.map((entry) => [String(entry['eidPrefix']), actionOf(String(entry['action']))]),
  )
  for (const address of own) mapCache.set(address, 'native')
  return [
    ...differences(`${node} local EID`, localEids, kernel.localEids),
    ...differences(`${node} map-cache`, mapCache, kernel.mapCache),
  ]
}

function differences(
  what: string,
  believed: ReadonlyMap<string, string>,
  real: ReadonlyMap<string, string>,
): string[] {
  const prefixes = [...new Set([...believed.keys(), ...real.keys()])].sort()
  return prefixes
    .filter((prefix) => believed.get(prefix) !== real.get(prefix))
    .map((prefix) => {
      const [wanted, found] = [believed.get(prefix) ?? 'nothing', real.get(prefix) ?? 'nothing']
      return `${what} ${prefix}: the daemon says ${wanted}, the kernel ${found}`
    })
}

/** The action of a map-cache view as the datapath has it. */
function actionOf(action: string): string {
  if (action === 'natively-forward') return 'native'
  if (action === 'send-map-request') return 'hold'
  return action === 'forward' ? 'forward' : 'drop'
}

function nameIn(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, number]) => number === value)?.[0] ?? `number ${value}`
}
