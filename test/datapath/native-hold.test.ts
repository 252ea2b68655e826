/**
 * The hold with real packets, in a namespace that vanishes with the process.
 *
 *   source (udp_source) ── in: gate_in ─ open ──────────────▶ sink ── far end: sink_in ─▶ arrivals
 *                                └─ else ─▶ TAP ─ hold ─▶ TAP: gate_out ─▶ ┘
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { HoldEvent, NativeHandle } from '../../src/datapath/native-addon.js'
import {
  addon,
  ADDON_BUILD as BUILD,
  interfaceIndex,
  isInsideNamespace,
  openFixture,
  prepareNamespace,
  range,
  runInsideNamespace,
  u32,
} from './addon-fixture.js'

/** What the fixture's gates map says while the hold is emptied. */
const DRAINING = 2

if (isInsideNamespace) testHold(join(prepareNamespace(), 'hold'))
else runInsideNamespace(fileURLToPath(import.meta.url))

interface HoldBench {
  readonly object: NativeHandle
  readonly hold: NativeHandle
  readonly events: HoldEvent[]
  readonly arrivals: { sequence: number; length: number; gsoSize: number; fragment: number }[]
  close(remove: boolean): void
}

function openBench(t: Test, pinDirectory: string, limits: Record<string, unknown> = {}): HoldBench {
  const object = openFixture(pinDirectory)
  const events: HoldEvent[] = []
  const arrivals: HoldBench['arrivals'] = []
  const options = {
    object,
    interfaceName: 'gwadd-hold',
    packetsPerEid: 30_000,
    bytesPerEid: 64e6,
    bytesTotal: 128e6,
    longestMs: [0, 5000, 5000],
    windowMs: 2000,
    provisionalGuardMs: 100,
    maximumEids: 100,
    ...limits,
  }
  const { hold, interfaceIndex: index } = addon.openHold(options, (batch) => {
    events.push(...batch)
  })
  addon.startEvents(object, 'arrivals', 16, (records, count) => {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
    for (let i = 0; i < count; i++) {
      const field = (at: number) => view.getUint32(i * 16 + at, true)
      const [sequence, length, gsoSize, fragment] = [field(0), field(4), field(8), field(12)]
      arrivals.push({ sequence, length, gsoSize, fragment })
    }
  })
  addon.updateMap(object, 'wiring', u32(0), u32(index))
  addon.updateMap(object, 'wiring', u32(1), u32(interfaceIndex('sink')))
  addon.attach(object, 'gate_in', interfaceIndex('in'), 'ingress')
  addon.attach(object, 'gate_out', index, 'ingress')
  addon.attach(object, 'sink_in', interfaceIndex('far'), 'ingress')
  let open = true
  const close = (remove: boolean): void => {
    if (!open) return
    open = false
    addon.closeHold(hold, remove)
    for (const host of range(8)) addon.deleteMap(object, 'gates', eid(host + 2))
    addon.closeObject(object)
  }
  t.teardown(() => close(true))
  return { object, hold, events, arrivals, close }
}

function testHold(pinDirectory: string): void {
  t.test('packets wait in order, leave in order, and newer ones go directly', async (t) => {
    const bench = openBench(t, pinDirectory)
    source('10.9.0.2', 0, 1000, 20_000)
    await until(() => addon.holdStatistics(bench.hold).packets === 1000 && bench.events.length > 0)
    t.match(bench.events[0], { kind: 'held', purpose: 1, key: eid(2) })
    const held = bench.events[0]
    if (held?.kind !== 'held') return t.fail('no held event')
    t.same(held.head.subarray(16, 20), Uint8Array.of(10, 9, 0, 2), 'head begins at the IP header')
    t.equal(bench.events.length, 1, 'one event per queue')
    t.equal(bench.arrivals.length, 0)

    const before = process.hrtime.bigint()
    addon.releaseHold(bench.hold, 1, eid(2), open(2))
    await until(() => bench.events.length === 2)
    t.comment(
      `release: ${Number(process.hrtime.bigint() - before) / 1e6} µs a packet, 1000 packets`,
    )
    t.match(bench.events[1], { kind: 'released', packets: 1000, key: eid(2) })
    source('10.9.0.2', 1000, 100, 20_000)
    await until(() => bench.arrivals.length === 1100)
    t.same(
      bench.arrivals.map((each) => each.sequence),
      range(1100),
    )
    t.match(addon.holdStatistics(bench.hold), {
      packets: 0,
      bytes: 0,
      eids: 0,
      heldTotal: 1000,
      releasedTotal: 1000,
    })
    bench.close(true)
  })

  t.test(
    'releases in the middle of 100,000 packets a second lose none and keep their order',
    async (t) => {
      const bench = openBench(t, pinDirectory)
      const total = 100_000
      // On one CPU: a sender that wanders is overtaken by itself, on its own veth.
      const command = ['-c', '0', join(BUILD, 'udp_source')]
      const running = spawn('taskset', [...command, '10.9.0.3', '9', '0', `${total}`, '100000'])
      const ended = once(running, 'exit')
      let releases = 0
      while (running.exitCode === null) {
        addon.deleteMap(bench.object, 'gates', eid(3))
        const { heldTotal } = addon.holdStatistics(bench.hold)
        // About 3 ms of packets in the hold, and 2 ms past it.
        await until(
          () =>
            running.exitCode !== null ||
            addon.holdStatistics(bench.hold).heldTotal >= heldTotal + 300,
        )
        addon.updateMap(bench.object, 'gates', eid(3), u32(DRAINING))
        addon.releaseHold(bench.hold, 1, eid(3), open(3))
        releases += 1
        const answered = () => bench.events.filter(({ kind }) => kind === 'released').length
        await until(() => answered() === releases)
        const arrived = bench.arrivals.length
        await until(() => running.exitCode !== null || bench.arrivals.length >= arrived + 200)
      }
      await ended
      await until(() => bench.arrivals.length === total)
      const sequence = bench.arrivals.map((each) => each.sequence)
      t.equal(overtaken(sequence), 0, `${releases} releases`)
      t.same(sequence, range(total))
      const { heldTotal, dropped } = addon.holdStatistics(bench.hold)
      t.ok(releases >= 20 && heldTotal > total / 10, `held ${heldTotal} of ${total}`)
      t.equal(dropped['lost'], 0)
      bench.close(true)
    },
  )

  t.test('two EIDs that meet at one gate lose nothing', async (t) => {
    const bench = openBench(t, pinDirectory)
    const [first, second] = twoAtOneGate()
    const send = (address: Uint8Array) => {
      const packet = ipv4Frame({ payload: 64 })
      packet.set(address, 14 + 16)
      addon.sendFrame(interfaceIndex('source'), packet)
    }
    for (const address of [first, second, first, second, second]) send(address)
    await until(() => addon.holdStatistics(bench.hold).packets === 5)
    const release = async (address: Uint8Array) => {
      const released = () => bench.events.filter(({ kind }) => kind === 'released')
      const before = released().length
      const key = Uint8Array.of(0, 0, 7, 4, ...address, ...new Uint8Array(12))
      addon.updateMap(bench.object, 'gates', key, u32(DRAINING))
      addon.releaseHold(bench.hold, 1, key, { map: 'gates', key, value: u32(1) })
      await until(() => released().length > before)
      addon.deleteMap(bench.object, 'gates', key)
      return released().at(-1)
    }
    t.match(await release(first), { kind: 'released', packets: 2 })
    t.match(addon.holdStatistics(bench.hold), { packets: 3, unsettledTotal: 1 })
    t.match(await release(second), { kind: 'released', packets: 3 })
    const { packets, unsettledTotal, dropped } = addon.holdStatistics(bench.hold)
    t.same([packets, unsettledTotal, dropped['lost']], [0, 1, 0], 'nothing is taken for lost')
    bench.close(true)
  })

  t.test('super-packets stay whole', async (t) => {
    const bench = openBench(t, pinDirectory)
    source('10.9.0.4', 0, 20, 1000, 30_000, 1000)
    await until(() => addon.holdStatistics(bench.hold).packets === 20)
    addon.releaseHold(bench.hold, 1, eid(4), open(4))
    await until(() => bench.arrivals.length === 20)
    t.match(
      bench.arrivals,
      range(20).map((sequence) => ({ sequence, length: 30_042, gsoSize: 1000 })),
    )
    bench.close(true)
  })

  t.test(
    'every limit drops the newest, counts it by reason, and tells when the queue ends',
    async (t) => {
      const bench = openBench(t, pinDirectory, {
        packetsPerEid: 10,
        bytesPerEid: 5000,
        bytesTotal: 6000,
        maximumEids: 2,
      })
      const dropped = () => addon.holdStatistics(bench.hold).dropped
      source('10.9.0.2', 0, 12, 10_000) // 116 bytes each with headers: 10 fit
      await until(() => dropped()['hold-packets'] === 2)
      source('10.9.0.3', 0, 5, 10_000, 1000) // 4 fit
      await until(() => dropped()['hold-bytes'] === 1)
      source('10.9.0.4', 0, 3, 10_000)
      await until(() => dropped()['hold-eids'] === 3)
      source('10.9.0.2', 0, 1, 10_000, 1000)
      addon.dropHold(bench.hold, 1, eid(2), 'no-reply')
      await until(() => bench.events.some((each) => each.kind === 'dropped'))
      t.match(
        bench.events.filter((each) => each.kind === 'dropped').map((each) => each.reason),
        ['hold-packets', 'no-reply'],
      )
      source('10.9.0.5', 0, 1, 10_000, 1400)
      source('10.9.0.5', 0, 1, 10_000, 1000)
      await until(() => dropped()['hold-total'] === 1)
      t.match(dropped(), { 'no-reply': 10, 'hold-packets': 3, 'hold-bytes': 1, 'hold-eids': 3 })
      t.equal(addon.holdStatistics(bench.hold).heldTotal, 15)
      bench.close(true)
    },
  )

  t.test('what nobody releases is dropped after the longest wait', async (t) => {
    const bench = openBench(t, pinDirectory, { longestMs: [0, 30, 30] })
    source('10.9.0.2', 0, 5, 10_000)
    await until(() => bench.events.some((each) => each.kind === 'dropped'))
    t.match(bench.events, [{ kind: 'held' }, { kind: 'dropped', packets: 5, reason: 'hold-time' }])
    t.match(addon.holdStatistics(bench.hold), { packets: 0, eids: 0, dropped: { 'hold-time': 5 } })
    addon.releaseHold(bench.hold, 1, eid(2), undefined)
    await until(() => bench.events.length === 3)
    t.match(bench.events[2], { kind: 'released', packets: 0 }, 'answered also with nothing held')
    bench.close(true)
  })

  t.test('copies of a live move are kept as far back as the window reaches', async (t) => {
    const bench = openBench(t, pinDirectory, { windowMs: 50 })
    const index = interfaceIndex('gwadd-hold')
    for (const stamp of [1, 2, 3]) addon.sendFrame(index, stampedFrame('copy', stamp))
    await until(() => addon.holdStatistics(bench.hold).dropped['aged'] === 3)
    t.equal(addon.holdStatistics(bench.hold).packets, 0)
    bench.close(true)
  })

  t.test('without news of the stop the first redirect tells which copies leave', async (t) => {
    // 100 ms are 1526 stamps.
    const bench = openBench(t, pinDirectory, { windowMs: 30_000, provisionalGuardMs: 100 })
    const index = interfaceIndex('gwadd-hold')
    for (const stamp of [1000, 4400, 4500]) addon.sendFrame(index, stampedFrame('copy', stamp))
    addon.sendFrame(index, stampedFrame('redirect', 6000))
    await until(() => addon.holdStatistics(bench.hold).packets === 4)
    addon.releaseHold(bench.hold, 2, eid(8), undefined)
    await until(() => bench.events.some((each) => each.kind === 'released'))
    t.match(addon.holdStatistics(bench.hold).dropped, { 'seen-at-source': 2 })
    bench.close(true)
  })

  t.test('after a release without flip, what still comes for the key passes at once', async (t) => {
    const bench = openBench(t, pinDirectory)
    source('10.9.0.6', 0, 3, 10_000)
    await until(() => bench.events.length === 1)
    addon.releaseHold(bench.hold, 1, eid(6), undefined)
    await until(() => bench.events.length === 2)
    source('10.9.0.6', 3, 3, 10_000)
    await until(() => bench.arrivals.length === 6)
    t.equal(bench.events.length, 2, 'not held again')
    bench.close(true)
  })

  t.test('a key held anew right after its release is held, not passed', async (t) => {
    const bench = openBench(t, pinDirectory)
    addon.releaseHold(bench.hold, 1, eid(7), open(7))
    await until(() => bench.events.length === 1)
    addon.deleteMap(bench.object, 'gates', eid(7))
    source('10.9.0.7', 0, 2, 10_000)
    await until(() => bench.events.length === 2)
    t.match(bench.events[1], { kind: 'held', key: eid(7) })
    bench.close(true)
  })

  t.test('a packet to be split comes back at once in two halves (RFC 791)', async (t) => {
    const bench = openBench(t, pinDirectory)
    const index = interfaceIndex('gwadd-hold')
    const arrived = async (frame: Uint8Array) => {
      bench.arrivals.length = 0
      addon.sendFrame(index, frame)
      await until(() => bench.arrivals.length === 2)
      return bench.arrivals.map(({ length, fragment }) => [length - 14, fragment])
    }
    t.same(
      await arrived(ipv4Frame({ payload: 1481 })),
      [
        [20 + 744, MORE_FRAGMENTS],
        [20 + 737, 744 / 8],
      ],
      'halves as equal as units of 8 bytes allow, checksums right',
    )
    t.same(
      await arrived(ipv4Frame({ payload: 1480, fragment: MORE_FRAGMENTS | 185 })),
      [
        [20 + 744, MORE_FRAGMENTS | 185],
        [20 + 736, MORE_FRAGMENTS | (185 + 93)],
      ],
      'a fragment in the middle stays in the middle',
    )
    // Record route (7) belongs into the first only, loose source route (131) into both.
    const options = [7, 7, 4, 0, 0, 0, 0, 131, 3, 4, 0, 0]
    t.same(
      (await arrived(ipv4Frame({ payload: 800, options }))).map(([length]) => length),
      [32 + 400, 24 + 400],
    )
    bench.arrivals.length = 0
    addon.sendFrame(index, ipv4Frame({ payload: 800, fragment: DONT_FRAGMENT }))
    addon.sendFrame(index, ipv4Frame({ payload: 8 }))
    await until(() => addon.holdStatistics(bench.hold).dropped['malformed'] === 2)
    t.equal(bench.arrivals.length, 0, 'with DF, or nothing to split: neither')
    t.match(addon.holdStatistics(bench.hold), { heldTotal: 0, releasedTotal: 0 }, 'none was held')
    bench.close(true)
  })

  t.test('the device stays when asked, is taken up again, and is never shared', async (t) => {
    const bench = openBench(t, pinDirectory)
    t.throws(() => openBench(t, pinDirectory), { code: 'EBUSY' })
    const index = interfaceIndex('gwadd-hold')
    bench.close(false)
    const again = openBench(t, pinDirectory)
    t.equal(interfaceIndex('gwadd-hold'), index)
    source('10.9.0.2', 0, 5, 10_000)
    await until(() => addon.holdStatistics(again.hold).packets === 5)
    again.close(true)
    t.throws(() => interfaceIndex('gwadd-hold'))
    t.end()
  })

  t.test('frames that are not the programs’ are counted as malformed', async (t) => {
    const bench = openBench(t, pinDirectory)
    const index = interfaceIndex('gwadd-hold')
    addon.sendFrame(index, new Uint8Array(60))
    const short = new Uint8Array(34)
    short.set([2, 1, 0, 0, 7, 0, 2, 0, 0, 0, 0, 0, 0x86, 0xdd, 0x60])
    addon.sendFrame(index, short)
    const strange = short.slice()
    strange[1] = 7
    addon.sendFrame(index, strange)
    await until(() => addon.holdStatistics(bench.hold).dropped['malformed'] === 3)
    t.throws(() => addon.sendFrame(9999, new Uint8Array(60)), { code: /ENXIO|ENODEV/ })
    bench.close(true)
  })
}

/** Looks every millisecond; what does not come about within the limit is a failure. */
async function until(condition: () => boolean): Promise<void> {
  const limit = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > limit) throw new Error(`never: ${condition}`)
    await setTimeout(1)
  }
}

function source(address: string, first: number, count: number, rate: number, ...more: number[]) {
  execFileSync(
    join(BUILD, 'udp_source'),
    [address, 9, first, count, rate, ...more].map((each) => `${each}`),
  )
}

/** lisp_eid_key of 10.9.0.<host> in instance 7, as the fixture writes it. */
function eid(host: number): Uint8Array {
  return Uint8Array.from({ length: 20 }, (_, i) => [0, 0, 7, 4, 10, 9, 0, host][i] ?? 0)
}

/** Two addresses whose keys (purpose 1, instance 7) have the same gate: lisp_hold_gate_slot. */
function twoAtOneGate(): [Uint8Array, Uint8Array] {
  const bySlot = new Map<number, Uint8Array>()
  for (let host = 0; ; host++) {
    const address = Uint8Array.of(10, 9, 1 + (host >> 8), host & 255)
    const words = new Uint32Array(
      Uint8Array.of(0, 0, 7, 4, ...address, ...new Uint8Array(12)).buffer,
    )
    let hash = 1
    for (const word of words) {
      hash = Math.imul(hash ^ word, 0x9e3779b1)
      hash ^= hash >>> 15
    }
    const slot = hash & 0xffff
    const other = bySlot.get(slot)
    if (other !== undefined) return [other, address]
    bySlot.set(slot, address)
  }
}

const MORE_FRAGMENTS = 0x2000
const DONT_FRAGMENT = 0x4000

/** An IPv4 packet behind the header that the programs write: purpose 3, to be split. */
function ipv4Frame(fields: {
  payload: number
  fragment?: number
  options?: readonly number[]
}): Uint8Array {
  const { payload, fragment = 0, options = [] } = fields
  const header = 20 + options.length
  const length = header + payload
  return Uint8Array.from([
    ...[2, 3, 0, 0, 7, 0, 2, 1, 0, 0, 0, 1, 8, 0],
    ...[0x40 | (header / 4), 0, length >> 8, length & 255, 0, 9, fragment >> 8, fragment & 255],
    ...[64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 8],
    ...options,
    ...range(payload).map((at) => at & 255),
  ])
}

/** LISP_STAMPED, in the highest byte of its word. */
const STAMPED = 0x80

/** What the programs write of a packet that the source of a live move stamped, to 10.9.0.8. */
function stampedFrame(kind: 'copy' | 'redirect', stamp: number): Uint8Array {
  const frame = ipv4Frame({ payload: 20 })
  const nonce = ((kind === 'copy' ? 1 : 2) << 22) | stamp
  frame.set([2, 2, 0, 0, 7, 4, 2, 1, STAMPED, nonce >> 16, (nonce >> 8) & 255, nonce & 255])
  return frame
}

/** Packets that arrived behind one that was sent later. */
function overtaken(sequence: readonly number[]): number {
  let highest = -1
  let count = 0
  for (const each of sequence) {
    if (each < highest) count += 1
    else highest = each
  }
  return count
}

function open(host: number) {
  return { map: 'gates', key: eid(host), value: u32(1) }
}
