/** The figures of migrations: the guest's clock on the host's axis, what is lost, what is promised. */
import t from 'tap'
import type { PacketRecord } from '../../src/demo/records.js'
import { gapParts } from '../../src/migrate/gap-parts.js'
import { deriveGuestClock } from '../../src/migrate/guest-clock.js'
import { judgeMigrations, lostSpansOf, type MigrateResult } from '../../src/migrate/result.js'
import { median } from '../../src/migrate/rounding.js'

/** Packets each millisecond of guest time, delayed a little; the guest stood for `stopMs` at 1 s. */
function fromGuest(stopMs: number): PacketRecord[] {
  return Array.from({ length: 2_000 }, (_, index) => {
    const guestNs = index * 1e6
    const stood = index > 1_000 ? stopMs * 1e6 : 0
    const delayNs = index % 7 === 0 ? 3e6 : 0.1e6
    const receivedNs = 5e9 + guestNs + stood + delayNs
    return { stream: 3, sequence: index, sentNs: guestNs, receivedNs, hopLimit: 60 }
  })
}

t.test('the guest stands while it is stopped, and its clock is put right', async (t) => {
  for (const stopMs of [40, 250, 3_000]) {
    const clock = deriveGuestClock(fromGuest(stopMs))
    t.ok(Math.abs(clock(500e6) - 5.5001e9) < 1e5, 'before')
    t.ok(Math.abs(clock(1_500e6) - (6.5001e9 + stopMs * 1e6)) < 1e5, `after ${stopMs} ms`)
    const gapMs = (clock(1_001e6) - clock(1_000e6)) / 1e6
    t.ok(Math.abs(gapMs - 1 - stopMs) < 0.5, `the gap of ${stopMs} ms shows: ${gapMs}`)
  }
  t.throws(() => deriveGuestClock([]), /too few packets/)
})

t.test('a delay of some packets is no stop', async (t) => {
  const records = fromGuest(0).map((record) => ({
    ...record,
    receivedNs: record.receivedNs! + (record.sequence % 10 === 0 ? 30e6 : 0),
  }))
  const clock = deriveGuestClock(records)
  t.ok(Math.abs(clock(1_500e6) - 6.5001e9) < 1e5)
})

t.test('lost packets are told in spans', async (t) => {
  const sent = fromGuest(0)
  const received = sent.filter(({ sequence }) => ![5, 6, 7, 900].includes(sequence))
  const spans = lostSpansOf({ sent, received }, { fromMs: 0, untilMs: 10_000 }, 0, 10)
  t.match(spans, [
    { family: 'ipv4', direction: 'fromEndpoint', packets: 3, fromMs: -5, untilMs: -3 },
    { packets: 1, fromMs: 890 },
  ])
  t.equal(spans.length, 2)
})

/** Arrivals of stream 1 (to the guest) or 3 (from it) at these milliseconds. */
function arrivals(stream: number, ...ms: readonly number[]): PacketRecord[] {
  return ms.map((at, sequence) => ({
    stream,
    sequence,
    sentNs: 0,
    receivedNs: at * 1e6,
    hopLimit: 60,
  }))
}

t.test('the added part of a gap is told apart: before STOP, the network, the guest', async (t) => {
  const bounds = { stopNs: 1_000e6, resumeNs: 1_100e6 }
  const inbound = arrivals(1, 980, 990, 1_150)
  const doubled = { ...inbound[1]!, receivedNs: 1_120e6 }
  t.same(
    gapParts('toEndpoint', [...inbound, doubled], arrivals(1, 500, 1_104), bounds),
    { beforeStopMs: 10, networkMs: 4, guestMs: 16, doubledMs: 30 },
    'a doubled packet ends no gap',
  )
  t.same(
    gapParts('toEndpoint', inbound, arrivals(1, 1_050), bounds),
    { beforeStopMs: 10, networkMs: 0, guestMs: 50, doubledMs: 0 },
    'delivered before RESUME nothing is added',
  )
  t.same(gapParts('fromEndpoint', arrivals(3, 998, 1_131), arrivals(3, 1_130), bounds), {
    beforeStopMs: 2,
    networkMs: 1,
    guestMs: 30,
    doubledMs: 0,
  })
  t.equal(gapParts('fromEndpoint', arrivals(3, 998, 1_131), [], bounds), undefined)
  t.equal(gapParts('fromEndpoint', arrivals(3, 998), arrivals(3, 1_130), bounds), undefined)
})

const row = {
  completed: true,
  from: 'cloud-a',
  to: 'cloud-b',
  style: 'direct',
  by: 'ipv6',
  sent: 1_000,
  lost: 0,
  duplicated: 3,
  reordered: 0,
  longestGapMs: 210,
  gapsMs: { toGuest: 210, fromGuest: 205 },
  vmDowntimeMs: 200,
  addedMs: 10,
  warmUpMs: null,
  addedBeyondWarmUpMs: null,
  lostSpans: [],
  timeline: [],
}
const good: Omit<MigrateResult, 'ok'> = {
  migrations: [row, row],
  aborted: { ...row, completed: false, stayedAt: 'cloud-a' },
  bandwidthLimited: row,
  sourceDaemonKilled: row,
  hypervisorKilled: { ...row, completed: false, stayedAt: 'cloud-a' },
  paused: row,
  baseline: [],
  addedMsMedian: 10,
  baselineAddedMsMedian: null,
  besideBaseline: [],
  besideBaselineAddedMsMedian: null,
  addedBeyondWarmUpMsMedian: null,
  networkMsMedian: null,
  tcp: { host: {}, guest: {}, intact: true },
}

t.test(
  'the promise is kept only without loss, with the aborted one at home and TCP intact',
  async (t) => {
    t.same(judgeMigrations(good, 2), { ok: true, reasons: [] })
    const broken: readonly (readonly [Partial<typeof good>, RegExp])[] = [
      [{ migrations: [row, { ...row, lost: 1 }] }, /migration 2 lost 1 packets/],
      [{ migrations: [row] }, /1 of 2 completed/],
      [{ migrations: [row, { ...row, completed: false }] }, /1 of 2 completed/],
      [{ sourceDaemonKilled: { ...row, lost: 7 } }, /migration 4 lost 7/],
      [{ paused: { ...row, completed: false, failure: 'no' } }, /a migration failed: no/],
      [{ aborted: { ...row, completed: true, stayedAt: 'cloud-b' } }, /was completed/],
      [{ aborted: { ...row, completed: false, stayedAt: undefined } }, /did not stay/],
      [
        { aborted: { ...row, completed: false, stayedAt: 'cloud-a', lost: 2 } },
        /aborted one lost 2/,
      ],
      [{ hypervisorKilled: { ...row, stayedAt: undefined } }, /is gone/],
      [{ hypervisorKilled: { ...row, stayedAt: 'cloud-a', lost: 3 } }, /killed libvirtd lost 3/],
      [{ tcp: { ...good.tcp, intact: false } }, /TCP/],
    ]
    for (const [change, reason] of broken) {
      const { ok, reasons } = judgeMigrations({ ...good, ...change }, 2)
      t.equal(ok, false)
      t.match(reasons.join('\n'), reason)
    }
    t.equal(median([3, 1, 2]), 2)
    t.equal(median([]), null)
  },
)
