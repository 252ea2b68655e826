/** From packets to figures: each kind of trouble shows in its own figure, in its own move. */
import t from 'tap'
import { computeFigures, type MoveWindow, type StreamDescription } from '../../src/demo/analysis.js'
import { decodeCapture, decodeRecords, type PacketRecord } from '../../src/demo/records.js'
import { judge } from '../../src/demo/result.js'

const MS = 1e6
const STREAMS: StreamDescription[] = [
  { id: 1, family: 'ipv4', direction: 'toEndpoint', cold: false },
  { id: 3, family: 'ipv4', direction: 'fromEndpoint', cold: false },
]
/** Two moves of 10 ms each, beginning at 10 ms; the switch comes 2 ms after the beginning. */
const WINDOWS: MoveWindow[] = [
  { trigger: 'orchestrated', fromNs: 10 * MS, untilNs: 20 * MS, switchedNs: 12 * MS },
  { trigger: 'detected', fromNs: 20 * MS, untilNs: 30 * MS, switchedNs: 22 * MS },
]

/** Packet n is sent at n ms; 30 of them. */
function sentOn(stream: number): PacketRecord[] {
  return Array.from({ length: 30 }, (_, sequence) => ({
    stream,
    sequence,
    sentNs: sequence * MS,
    receivedNs: undefined,
    hopLimit: 0,
  }))
}

/** All arrive 0.1 ms after they were sent, except as `change` says; undefined = lost. */
function receivedOn(
  stream: number,
  change: (sequence: number) => Partial<PacketRecord> | undefined = () => ({}),
): PacketRecord[] {
  const packets = sentOn(stream).flatMap((packet) => {
    const changed = change(packet.sequence)
    const receivedNs = packet.sentNs + 0.1 * MS
    return changed === undefined ? [] : [{ ...packet, receivedNs, hopLimit: 62, ...changed }]
  })
  return packets.sort((left, right) => left.receivedNs! - right.receivedNs!)
}

function figuresOf(towards: PacketRecord[], from = receivedOn(3)) {
  return computeFigures(STREAMS, [...sentOn(1), ...sentOn(3)], [...towards, ...from], WINDOWS)
}

t.test('a run without trouble has no trouble in it', async (t) => {
  const { moves, firstPacketLost, lostElsewhere } = figuresOf(receivedOn(1))
  t.same([firstPacketLost, lostElsewhere, moves.length], [0, 0, 2])
  t.match(moves[0], {
    trigger: 'orchestrated',
    family: 'ipv4',
    sent: 20,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    longestGapMs: 1,
    convergedMs: 0.1,
    perDirection: { toEndpoint: { sent: 10 }, fromEndpoint: { sent: 10 } },
  })
})

t.test('a lost packet belongs to the move in whose window it was sent', async (t) => {
  const { moves } = figuresOf(
    receivedOn(1, (n) => (n === 15 ? undefined : {})),
    receivedOn(3, (n) => (n >= 24 && n < 27 ? undefined : {})),
  )
  t.same([moves[0]?.lost, moves[1]?.lost], [1, 3])
  t.same([moves[0]?.perDirection.toEndpoint.lost, moves[0]?.perDirection.fromEndpoint.lost], [1, 0])
  t.same([moves[1]?.perDirection.toEndpoint.lost, moves[1]?.perDirection.fromEndpoint.lost], [0, 3])
  t.equal(moves[1]?.longestGapMs, 4, 'the silence is seen by the receiver')
})

t.test(
  'losing everything to the end shows as loss and as a gap to the last packet sent',
  async (t) => {
    const { moves } = figuresOf(receivedOn(1, (n) => (n >= 25 ? undefined : {})))
    t.equal(moves[1]?.lost, 5)
    t.equal(moves[1]?.longestGapMs, 4.9)
  },
)

t.test('held packets that come late but in order are a gap, not reordered', async (t) => {
  const held = receivedOn(1, (n) => (n >= 12 && n < 17 ? { receivedNs: (17 + n / 1000) * MS } : {}))
  const { moves } = figuresOf(held)
  t.same([moves[0]?.lost, moves[0]?.reordered], [0, 0])
  t.equal(moves[0]?.longestGapMs, 5.91)
})

t.test(
  'a packet that arrives after a later one is reordered, a second copy is a duplicate',
  async (t) => {
    const late = receivedOn(1, (n) => (n === 14 ? { receivedNs: 16.5 * MS } : {}))
    const twice = [...late, { ...late.at(-1)!, receivedNs: 31 * MS }]
    const { moves } = figuresOf(twice)
    t.same([moves[0]?.reordered, moves[0]?.duplicated], [1, 0])
    t.same([moves[1]?.reordered, moves[1]?.duplicated], [0, 1])
    t.equal(moves[1]?.lost, 0)
  },
)

t.test(
  'convergence is the first packet sent after the switch that came the short way',
  async (t) => {
    const detour = receivedOn(1, (n) => (n >= 12 && n < 16 ? { hopLimit: 60 } : {}))
    t.equal(figuresOf(detour).moves[0]?.convergedMs, 4.1)
    const never = receivedOn(1, (n) => (n >= 12 && n < 20 ? { hopLimit: 60 } : {}))
    t.equal(figuresOf(never).moves[0]?.convergedMs, null)
  },
)

t.test('a cold stream counts by its first packet only, and never as a move', async (t) => {
  const cold: StreamDescription = { id: 9, family: 'ipv6', direction: 'toEndpoint', cold: true }
  const sent = [...sentOn(1), ...sentOn(3), ...sentOn(9)]
  const received = [...receivedOn(1), ...receivedOn(3)]
  const without = receivedOn(9, (n) => (n === 0 ? undefined : {}))
  const lost = computeFigures([...STREAMS, cold], sent, [...received, ...without], WINDOWS)
  t.same([lost.firstPacketLost, lost.lostElsewhere, lost.moves.length], [1, 1, 2])
  const arrived = computeFigures([...STREAMS, cold], sent, [...received, ...receivedOn(9)], WINDOWS)
  t.equal(arrived.firstPacketLost, 0)
})

t.test('the verdict is ok only when the promise was kept', async (t) => {
  const end = { sent: 10, received: 10, corrupt: 0, resets: 0, longestStallMs: 3, complete: true }
  const tcp = { connect: end, serve: { ...end, longestStallMs: 70 } }
  const all = { moves: 2, performed: 2, leakedFrames: 0 }
  const good = judge(figuresOf(receivedOn(1)), tcp, all)
  t.same(good.reasons, [])
  t.match(good.result, { ok: true, firstPacketLost: 0, tcp: { bytes: 20, longestStallMs: 70 } })
  const detectedLoss = figuresOf(receivedOn(1, (n) => (n === 23 ? undefined : {})))
  t.ok(judge(detectedLoss, tcp, all).result.ok, 'a detected move may lose')
  const preparedLoss = figuresOf(receivedOn(1, (n) => (n === 13 ? undefined : {})))
  t.match(judge(preparedLoss, tcp, all), { result: { ok: false }, reasons: [/1 packets lost/] })
  t.notOk(judge(figuresOf(receivedOn(1)), tcp, { ...all, performed: 1 }).result.ok)
  const fine = figuresOf(receivedOn(1))
  t.notOk(judge(fine, tcp, { ...all, leakedFrames: 1 }).result.ok, 'the old link was still open')
  for (const damage of [{ corrupt: 1 }, { resets: 1 }, { complete: false }, { received: 9 }]) {
    t.notOk(
      judge(fine, { ...tcp, serve: { ...end, ...damage } }, all).result.ok,
      JSON.stringify(damage),
    )
  }
})

t.test('record files are read, torn ones up to the tear, others refused', async (t) => {
  const bytes = new Uint8Array(16 + 2 * 32 + 7)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('GWRECORD'))
  view.setUint32(8, 1, true)
  view.setUint32(12, 2, true)
  view.setUint32(16, 3, true)
  view.setUint8(20, 61)
  view.setBigUint64(24, 41n, true)
  view.setBigUint64(32, 1_000n, true)
  view.setBigUint64(40, 2_000n, true)
  const { kind, records } = decodeRecords(bytes)
  t.equal(kind, 'received')
  t.equal(records.length, 2)
  t.same(records[0], {
    stream: 3,
    sequence: 41,
    sentNs: 1000,
    receivedNs: 2000,
    hopLimit: 61,
    trafficClass: 0,
  })
  t.throws(() => decodeRecords(new Uint8Array(40)), /not a file of packet records/)
})

t.test('captures give the same packets as records', async (t) => {
  const payload = new DataView(new ArrayBuffer(24))
  payload.setUint32(0, 0x47575042)
  payload.setUint32(4, 2)
  payload.setBigUint64(8, 7n)
  payload.setBigUint64(16, 5_000n)
  const frame = (family: 4 | 6, magic = 0x47575042): Uint8Array => {
    const header = family === 4 ? 42 : 62
    const out = new Uint8Array(header + 24)
    const view = new DataView(out.buffer)
    view.setUint16(12, family === 4 ? 0x0800 : 0x86dd)
    view.setUint8(14, family === 4 ? 0x45 : 0x60)
    view.setUint8(family === 4 ? 23 : 20, 17)
    view.setUint8(family === 4 ? 22 : 21, 62)
    out.set(new Uint8Array(payload.buffer), header)
    view.setUint32(header, magic)
    return out
  }
  const frames = [frame(4), frame(6), frame(4, 1)]
  const file = new Uint8Array(24 + frames.reduce((sum, each) => sum + 16 + each.length, 0) + 5)
  const view = new DataView(file.buffer)
  view.setUint32(0, 0xa1b23c4d, true)
  let at = 24
  for (const each of frames) {
    view.setUint32(at, 2, true)
    view.setUint32(at + 4, 500, true)
    view.setUint32(at + 8, each.length, true)
    file.set(each, at + 16)
    at += 16 + each.length
  }
  const wanted = { stream: 2, sequence: 7, sentNs: 5000, receivedNs: 1e9 + 500, hopLimit: 62 }
  t.same(decodeCapture(file, 1e9), [wanted, wanted], 'foreign packets are left out')
  t.throws(() => decodeCapture(new Uint8Array(100), 0), /not a pcap file/)
})
