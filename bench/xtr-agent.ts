/**
 * A process inside an xTR's namespace that holds the daemon's pinned datapath object: it takes the
 * programs off the interfaces and puts them back in a few milliseconds, so that plain forwarding and
 * VXLAN are measured without them, and it fills the map-cache far beyond what a daemon was asked for.
 *
 * One JSON request per line on stdin, one JSON answer per line on stdout. Only the maps and links of
 * the configuration named on the command line are touched.
 */
import { readdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseAddressText } from '../src/config/address-text.js'
import { loadConfig } from '../src/config/load.js'
import {
  DROP_REASON,
  decodeBpfLocatorSet,
  decodeBpfMapCacheEntry,
  EID_KEY_BYTES,
  EID_PREFIX_KEY_BYTES,
  EID_PREFIX_KEY_OFFSETS,
  encodeBpfEidKey,
  encodeBpfEidPrefixKey,
  encodeBpfLocatorSet,
  encodeBpfMapCacheEntry,
  LOCATOR_FLAGS,
  LOCATOR_SET_BYTES,
  MAP_CACHE_ACTION,
  MAP_CACHE_ENTRY_BYTES,
  TALLY,
} from '../src/datapath/abi.generated.js'
import { createBpfMaps } from '../src/datapath/bpf-maps.js'
import { counterCount, openDatapathObject, pinDirectoryOf } from '../src/datapath/bpf-setup.js'
import { loadNativeAddon } from '../src/datapath/native-addon.js'
import { INSTANCE_ID, SCALE_HOSTS, SCALE_PREFIX_LENGTH, SCALE_PREFIXES } from './topology.js'

export type AgentRequest =
  | { readonly do: 'attach' | 'detach' | 'counts' }
  /** Say to all locators, or to none, that they speak RFC 9305. */
  | { readonly do: 'gpe'; readonly on: boolean }
  /** Put so many host EIDs and prefixes into the map-cache, all with the locators of site B. */
  | { readonly do: 'fill'; readonly hosts: number; readonly prefixes: number }

export interface AgentAnswer {
  readonly error?: string
  readonly encapsulated?: number
  readonly decapsulated?: number
  readonly drops?: Readonly<Record<string, number>>
  /** How long a fill took, and how many elements the two maps hold now. */
  readonly ms?: number
}

const loaded = loadConfig(process.argv[2] ?? '')
if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
const { config } = loaded
const addon = loadNativeAddon()
const object = openDatapathObject(config, addon)
const maps = createBpfMaps(addon, object)
const attachments = readdirSync(pinDirectoryOf(config)).flatMap((name) => {
  const match = /^link_(site_ingress|rloc_ingress)_(\d+)$/.exec(name)
  return match ? [{ program: match[1]!, interfaceIndex: Number(match[2]) }] : []
})
if (attachments.length < 2) throw new Error('the daemon has not attached its programs')

function answer(request: AgentRequest): AgentAnswer {
  switch (request.do) {
    case 'attach':
      for (const one of attachments)
        addon.attach(object, one.program, one.interfaceIndex, 'ingress')
      return {}
    case 'detach':
      for (const one of attachments) addon.detach(object, one.program, one.interfaceIndex)
      return {}
    case 'gpe':
      setGpe(request.on)
      return {}
    case 'fill':
      return fill(request.hosts, request.prefixes)
    case 'counts':
      return {
        encapsulated: Number(maps.sums('tallies', TALLY.encapsulated, 1)[0]),
        decapsulated: Number(maps.sums('tallies', TALLY.decapsulated, 1)[0]),
        drops: drops(),
      }
  }
}

function drops(): Record<string, number> {
  const counted = Object.entries(DROP_REASON).map(([name, index]): [string, number] => [
    name,
    Number(maps.sums('drops', index, 2)[0]),
  ])
  return Object.fromEntries(counted.filter(([, packets]) => packets > 0))
}

function setGpe(on: boolean): void {
  const { count, keys, values } = maps.read('locator_sets')
  for (let index = 0; index < count; index += 1) {
    const set = decodeBpfLocatorSet(values, index * LOCATOR_SET_BYTES)
    const locators = set.locators.map((one) => ({
      ...one,
      flags: on ? one.flags | LOCATOR_FLAGS.gpe : one.flags & ~LOCATOR_FLAGS.gpe,
    }))
    const key = keys.slice(index * 4, index * 4 + 4)
    maps.update('locator_sets', key, encodeBpfLocatorSet({ ...set, locators }))
  }
}

/** Counter ids from the top, where the daemon does not give them out in a benchmark. */
function fill(hosts: number, prefixes: number): AgentAnswer {
  const began = performance.now()
  const locatorSetId = anyLocatorSet()
  const first = counterCount(config)
  const action = MAP_CACHE_ACTION.forward
  const value = (index: number): Uint8Array =>
    encodeBpfMapCacheEntry({ counterId: first - index, locatorSetId, action })
  const eid = (base: Uint8Array) => ({
    instanceFamily: ((INSTANCE_ID << 8) | 4) >>> 0,
    address: base,
  })
  const hostKey = encodeBpfEidKey(eid(bytesOf(SCALE_HOSTS)))
  const hostBase = new DataView(hostKey.buffer).getUint32(ADDRESS_AT)
  putMany('map_cache_hosts', hosts, EID_KEY_BYTES, value, (keys, at, index) => {
    keys.set(hostKey, at)
    new DataView(keys.buffer).setUint32(at + ADDRESS_AT, hostBase + index)
  })
  const prefixBits = 32 + SCALE_PREFIX_LENGTH
  const prefixKey = encodeBpfEidPrefixKey({ prefixBits, eid: eid(bytesOf(SCALE_PREFIXES)) })
  const prefixAddressAt = EID_PREFIX_KEY_OFFSETS.eid + ADDRESS_AT
  const prefixBase = new DataView(prefixKey.buffer).getUint32(prefixAddressAt)
  const stride = 2 ** (32 - SCALE_PREFIX_LENGTH)
  const prefixValue = (index: number): Uint8Array => value(hosts + index)
  putMany('map_cache_prefixes', prefixes, EID_PREFIX_KEY_BYTES, prefixValue, (keys, at, index) => {
    keys.set(prefixKey, at)
    new DataView(keys.buffer).setUint32(at + prefixAddressAt, prefixBase + index * stride)
  })
  return { ms: performance.now() - began }
}

function putMany(
  map: string,
  count: number,
  keyBytes: number,
  value: (index: number) => Uint8Array,
  writeKey: (keys: Uint8Array, at: number, index: number) => void,
): void {
  for (let done = 0; done < count; done += CHUNK) {
    const size = Math.min(CHUNK, count - done)
    const keys = new Uint8Array(size * keyBytes)
    const values = new Uint8Array(size * MAP_CACHE_ENTRY_BYTES)
    for (let index = 0; index < size; index += 1) {
      writeKey(keys, index * keyBytes, done + index)
      values.set(value(done + index), index * MAP_CACHE_ENTRY_BYTES)
    }
    addon.updateMapBatch(object, map, keys, values, size)
  }
}

/** The locators by which site B is reached now: whatever prefix of it was asked for last. */
function anyLocatorSet(): number {
  const { count, values } = maps.read('map_cache_prefixes')
  for (let index = 0; index < count; index += 1) {
    const entry = decodeBpfMapCacheEntry(values, index * MAP_CACHE_ENTRY_BYTES)
    if (entry.action === MAP_CACHE_ACTION.forward) return entry.locatorSetId
  }
  throw new Error('no mapping has been resolved yet')
}

function bytesOf(address: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes.set(parseAddressText(address)!.bytes)
  return bytes
}

/** Of the address in struct lisp_eid_key. */
const ADDRESS_AT = 4
const CHUNK = 65_536

for await (const line of createInterface({ input: process.stdin })) {
  let reply: AgentAnswer
  try {
    reply = answer(JSON.parse(line) as AgentRequest)
  } catch (cause) {
    reply = { error: (cause as Error).message }
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
