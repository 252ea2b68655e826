/**
 * What the kernel datapath is made of, without a kernel: layouts, keys, shared locator sets, the
 * order of releases and replacements, frames.
 */
import fc from 'fast-check'
import t from 'tap'
import type { DatapathEvent } from '../../src/control/datapath-event.js'
import type { Encapsulation } from '../../src/control/datapath-operation.js'
import * as abi from '../../src/datapath/abi.generated.js'
import type { BpfMaps } from '../../src/datapath/bpf-maps.js'
import {
  eidKey,
  eidOfKey,
  eidPrefixKey,
  eidPrefixOfKey,
  keyText,
} from '../../src/datapath/eid-keys.js'
import { createEntryTable } from '../../src/datapath/entry-table.js'
import { createFreeIds } from '../../src/datapath/free-ids.js'
import { createHoldReleases, type HoldReleases } from '../../src/datapath/hold-releases.js'
import { internetChecksum } from '../../src/datapath/internet-checksum.js'
import { createLocatorSets } from '../../src/datapath/locator-sets.js'
import type { NativeAddon, NativeHandle } from '../../src/datapath/native-addon.js'
import { announcementFrame, solicitationFrame } from '../../src/datapath/neighbour-frames.js'
import { parseIpAddress } from '../../src/lisp/address.js'
import { type EidPrefix, parseEid, parseEidPrefix } from '../../src/lisp/eid.js'
import { locator } from '../../src/lisp/locator.js'

const bytes = (count: number) => fc.uint8Array({ minLength: count, maxLength: count })
const u8 = fc.integer({ min: 0, max: 0xff })
const u16 = fc.integer({ min: 0, max: 0xffff })
const u32 = fc.integer({ min: 0, max: 0xffffffff })

t.test('structs of the kernel ABI read back as they were written', async (t) => {
  const eid = fc.record({ instanceFamily: u32, address: bytes(16) })
  const locators = fc.array(
    fc.record({ family: u8, flags: u8, pathMtu: u16, source: bytes(16), destination: bytes(16) }),
    { minLength: 8, maxLength: 8 },
  )
  const same = <Value>(
    values: fc.Arbitrary<Value>,
    encode: (value: Value) => Uint8Array,
    decode: (bytes: Uint8Array) => Value,
    size: number,
  ) =>
    fc.assert(
      fc.property(values, (value) => {
        const encoded = encode(value)
        t.equal(encoded.length, size)
        t.same(decode(encoded), value)
      }),
      { numRuns: 30 },
    )
  same(eid, abi.encodeBpfEidKey, abi.decodeBpfEidKey, 20)
  same(
    fc.record({ count: u8, buckets: bytes(64), locators }),
    abi.encodeBpfLocatorSet,
    abi.decodeBpfLocatorSet,
    356,
  )
  same(
    fc.record({ counterId: u32, interfaceIndex: u32, state: u8, flags: u8, mac: bytes(6) }),
    abi.encodeBpfLocalEid,
    abi.decodeBpfLocalEid,
    16,
  )
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  same(
    fc.record({ packets: u64, bytes: u64, lastUsedNs: u64 }),
    abi.encodeBpfCounter,
    abi.decodeBpfCounter,
    24,
  )
})

t.test('keys are laid out as the programs read them', async (t) => {
  const eid = parseEid('[16777215]10.1.2.3')!
  t.same([...eidKey(eid)], [0xff, 0xff, 0xff, 4, 10, 1, 2, 3, ...new Array(12).fill(0)])
  const prefix = parseEidPrefix('[7]fd00:10::/64')!
  t.same([...eidPrefixKey(prefix)].slice(0, 12), [96, 0, 0, 0, 0, 0, 7, 6, 0xfd, 0, 0, 0x10])
  for (const text of ['[0]0.0.0.0/0', '10.0.0.0/8', '[8388608]::/0', '[7]fd00::1/128']) {
    const parsed = parseEidPrefix(text)
    if (parsed !== undefined) t.same(eidPrefixOfKey(eidPrefixKey(parsed)), parsed)
  }
  t.same(eidOfKey(eidKey(eid)), eid)
  t.equal(eidOfKey(new Uint8Array(20)), undefined, 'no family')
})

t.test('a byte array from a reused buffer is copied', async (t) => {
  const buffer = Buffer.from(
    abi.encodeBpfEidKey({ instanceFamily: 4, address: new Uint8Array(16).fill(1) }),
  )
  const decoded = abi.decodeBpfEidKey(buffer)
  buffer.fill(9)
  t.equal(decoded.address[0], 1)
})

function towards(rloc: string, weight = 100): Encapsulation {
  return {
    locator: locator(parseIpAddress(rloc)!, { priority: 1, weight, reachable: true }),
    source: parseIpAddress('172.16.1.1')!,
    pathMtu: 1500,
  }
}

t.test('equal locator sets share one element that goes with its last user', async (t) => {
  const map = new Map<string, Uint8Array>()
  const sets = createLocatorSets(
    {
      update: (key, value) => map.set(keyText(key), value),
      remove: (key) => map.delete(keyText(key)),
      read: () => ({ count: 0, keys: new Uint8Array(0), values: new Uint8Array(0) }),
    },
    2,
  )
  const a = sets.acquire([towards('172.16.9.1')])
  t.equal(sets.acquire([towards('172.16.9.1')]), a)
  const b = sets.acquire([towards('172.16.9.2', 25), towards('172.16.9.1', 75)])
  t.not(b, a)
  t.equal(sets.acquire([towards('172.16.9.3')]), undefined, 'full')
  const weights = sets.encapsulations(b!).map((one) => one.locator.weight)
  t.same(weights, [16, 48], 'weights in 64ths')
  sets.release(a!)
  t.equal(map.size, 2)
  sets.release(a!)
  t.equal(map.size, 1)
  t.not(sets.acquire([towards('172.16.9.3')]), undefined, 'the id is free again')
})

/** Maps in memory, and a hold whose releases end when the test says so. */
function aTable() {
  const kernel = new Map<string, Uint8Array>()
  const maps = {
    update: (map: string, key: Uint8Array, value: Uint8Array) =>
      kernel.set(map + keyText(key), value),
    remove: (map: string, key: Uint8Array) => kernel.delete(map + keyText(key)),
    lookup: () => undefined,
    clearCounter: () => {},
  } as unknown as BpfMaps
  const running: (() => void)[] = []
  const addon = {
    releaseHold: (
      _hold: unknown,
      purpose: number,
      key: Uint8Array,
      flip: { map: string; key: Uint8Array; value: Uint8Array } | undefined,
    ) => {
      running.push(() => {
        if (flip !== undefined) maps.update(flip.map, flip.key, flip.value)
        releases.take([{ kind: 'released', purpose, key, packets: 1, heldMs: 2 }])
      })
    },
  } as unknown as NativeAddon
  const raised: DatapathEvent[] = []
  const freed: number[] = []
  let final = false
  const releases: HoldReleases = createHoldReleases({
    addon,
    hold: {} as NativeHandle,
    writeFlip: ({ map, key, value }) => maps.update(map, key, value),
    raise: (event) => raised.push(event),
    isFinal: () => final,
  })
  const table = createEntryTable({
    maps,
    hostMap: 'hosts',
    prefixMap: 'prefixes',
    valueBytes: 2,
    purpose: 'map-cache-miss',
    counterIds: createFreeIds(4),
    releases: () => releases,
    freeReference: (reference) => freed.push(reference),
  })
  const eidPrefix = parseEidPrefix('[7]10.0.0.0/24')!
  const put = (
    form: number,
    reference: number,
    release: string[] = [],
    prefix: EidPrefix = eidPrefix,
  ): void =>
    table.put({
      eidPrefix: prefix,
      final: (counterId) => Uint8Array.of(form, counterId),
      draining: (counterId) => Uint8Array.of(100 + form, counterId),
      reference,
      release: release.map((text) => parseEid(text)!),
    })
  const value = (): number[] => [
    ...(kernel.get(`prefixes${keyText(eidPrefixKey(eidPrefix))}`) ?? []),
  ]
  const end = (): void => running.shift()?.()
  const setFinal = (now: boolean): void => {
    final = now
  }
  return { table, releases, raised, freed, eidPrefix, put, value, end, running, setFinal }
}

t.test(
  'an entry with packets to release is draining until the last release has ended',
  async (t) => {
    const { put, value, end, raised, running } = aTable()
    put(1, 11, ['[7]10.0.0.1', '[7]10.0.0.2'])
    t.same(value(), [101, 1])
    end()
    t.same(value(), [101, 1], 'the first release does not flip')
    end()
    t.same(value(), [1, 1])
    t.same(
      raised.map(({ kind }) => kind),
      ['hold-released', 'hold-released'],
    )
    t.equal(running.length, 0)
  },
)

t.test('a final form that the hold could not write is written by hand', async (t) => {
  const { put, value, releases } = aTable()
  put(1, 11, ['[7]10.0.0.1'])
  const key = eidKey(parseEid('[7]10.0.0.1')!)
  const purpose = abi.HOLD_PURPOSE['map-cache-miss']
  releases.take([{ kind: 'dropped', purpose, key, packets: 0, reason: 'flip-failed' }])
  t.same(value(), [1, 1])
})

t.test(
  'a put while a release is under way comes after it, and references are freed last',
  async (t) => {
    const { put, value, end, freed, raised } = aTable()
    put(1, 11, ['[7]10.0.0.1'])
    put(2, 12)
    t.same(value(), [101, 1], 'not overwritten by hand')
    t.same(freed.filter(Boolean), [], 'the former set is still in use by the flip')
    end()
    t.same(value(), [1, 1])
    end()
    t.same(value(), [2, 1], 'the later put wins')
    t.same(freed.filter(Boolean), [11])
    t.equal(raised.length, 1, 'only the asked-for release is announced')
  },
)

t.test('a delete while a release is under way happens at its end', async (t) => {
  const { table, put, value, end, eidPrefix, freed } = aTable()
  put(1, 11, ['[7]10.0.0.1'])
  t.ok(table.remove(eidPrefix))
  t.same(value(), [101, 1])
  end()
  t.same(value(), [])
  t.same(freed.filter(Boolean), [11])
  t.notOk(table.remove(eidPrefix), 'gone')
})

t.test('a delete followed by a put while a release is under way leaves the put', async (t) => {
  const { table, put, value, end, eidPrefix } = aTable()
  put(1, 11, ['[7]10.0.0.1'])
  table.remove(eidPrefix)
  put(2, 12)
  end()
  end()
  t.same(value(), [2, 1])
})

t.test('counter ids run out with an error and nothing is changed', async (t) => {
  const { table, put } = aTable()
  for (const last of [1, 2, 3, 4]) put(1, 1, [], parseEidPrefix(`[7]10.9.0.${last}/32`)!)
  t.throws(() => put(1, 1, [], parseEidPrefix('[7]10.9.0.5/32')!), /counters-exhausted/)
  t.equal([...table.entries()].length, 4)
})

t.test('held packets are announced once, unless their entry lets them pass already', async (t) => {
  const { releases, raised, put, running, end, setFinal } = aTable()
  const head = Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 10, 0, 5, 10, 0, 0, 1)
  const held = (eid: string) => {
    releases.take([
      {
        kind: 'held',
        purpose: abi.HOLD_PURPOSE['map-cache-miss'],
        key: eidKey(parseEid(eid)!),
        head,
      },
    ])
  }
  held('[7]10.0.0.1')
  t.match(raised, [
    { kind: 'packet-held', source: parseEid('[7]10.10.0.5'), why: 'map-cache-miss' },
  ])
  put(1, 0, ['[7]10.0.0.1'])
  held('[7]10.0.0.1')
  t.equal(raised.length, 1, 'leaves with the release under way')
  end()
  setFinal(true)
  raised.length = 0
  held('[7]10.0.0.1')
  t.equal(running.length, 1, 'a straggler is released at once')
  end()
  t.same(raised, [], 'and nobody is asked')
})

t.test('announcements and solicitations are right frames', async (t) => {
  const mac = Uint8Array.of(2, 0, 0x5e, 0x10, 0, 1)
  const arp = announcementFrame(parseIpAddress('10.10.0.5')!, mac)
  t.same(
    [...arp.subarray(0, 22)],
    [255, 255, 255, 255, 255, 255, ...mac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
  )
  t.same([...arp.subarray(28, 32)], [...arp.subarray(38, 42)], 'sender and target are the same')
  const checksumOf = (frame: Uint8Array): number =>
    internetChecksum([
      frame.subarray(22, 54),
      Uint8Array.of(0, 0, 0, 32, 0, 0, 0, 58),
      frame.subarray(54),
    ])
  const advertisement = announcementFrame(parseIpAddress('fd00:10::5')!, mac)
  t.equal(checksumOf(advertisement), 0, 'the sum over everything is zero')
  t.equal(advertisement[54], 136)
  t.equal(advertisement[58], 0x20, 'override, not solicited, no router')
  t.equal(advertisement[21], 255, 'hop limit')
  const solicitation = solicitationFrame(
    parseIpAddress('fd00:10::a:5')!,
    parseIpAddress('fd00:10::1')!,
    mac,
  )
  t.equal(checksumOf(solicitation), 0)
  t.same([...solicitation.subarray(0, 6)], [0x33, 0x33, 0xff, 0x0a, 0, 5])
  t.same(
    [...solicitation.subarray(38, 54)],
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x0a, 0, 5],
  )
  const request = solicitationFrame(parseIpAddress('10.10.0.5')!, parseIpAddress('10.10.0.1')!, mac)
  t.same([...request.subarray(28, 42)], [10, 10, 0, 1, 0, 0, 0, 0, 0, 0, 10, 10, 0, 5])
})
