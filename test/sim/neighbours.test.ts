/**
 * What hosts on the segment of a machine lose while it is moved live: they take it for a neighbour, and
 * their frames go past the tunnel router, until that answers in the machine's place.
 */
import t from 'tap'
import { BEGIN, type Course, DOWN_MS, KNOWN, liveWorld, migrate } from '../support/live-world.js'

t.setTimeout(120_000)

const PERIOD_MS = 2
/** Sent to a port where nobody is any more, or waiting there when it stopped. */
const AT_THE_OLD_PORT = ['stale-neighbour', 'left-in-tap', 'endpoint-not-here']
/** B to A, and A's work. */
const CONFIRMATION_MS = 12

t.test('a neighbour of a machine that is moved live loses its pause, and no more', async (t) => {
  const course: Course = liveWorld(undefined, { endpoints: 2 })
  const { hosts, timeline, ledger } = course.world
  const [vm, neighbour] = [hosts.byName('vm-1'), hosts.byName('vm-2')]
  const [home, elsewhere] = [neighbour.socket!.site, 'cloud-3']
  t.equal(vm.socket?.site, 'cloud-1')
  if (home !== 'cloud-1') migrate(course, BEGIN, 'cloud-1', home, KNOWN)
  const flow = hosts.traffic(neighbour, vm, 4)!
  const send = (): void => {
    hosts.send(flow, 200)
    timeline.after(PERIOD_MS, send)
  }
  timeline.at(BEGIN + 3000, send)
  migrate(course, BEGIN + 5000, home, elsewhere, KNOWN)
  course.world.run(BEGIN + 12_000)
  const lost = ledger.missing(flow.books, 500)
  const reasons = [...new Set(lost.map(({ reason }) => reason))]
  t.same(
    reasons.filter((one) => !AT_THE_OLD_PORT.includes(one ?? '')),
    [],
  )
  const lostMs = lost.length * PERIOD_MS
  t.ok(lostMs >= DOWN_MS / 2, `${lostMs} ms of packets: those of the pause`)
  t.ok(lostMs <= DOWN_MS + CONFIRMATION_MS, `${lostMs} ms of packets of a pause of ${DOWN_MS}`)
})
