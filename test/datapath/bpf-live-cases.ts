/**
 * Live moves in the kernel's programs: what the source copies and stamps, what the destination makes
 * of stamps of its peer and of others.
 */
import t from 'tap'
import {
  type BpfMove,
  encodeBpfEidKey,
  encodeBpfMove,
  LOCAL_EID_FLAGS,
  MOVE_FLAGS,
  MOVE_ROLE,
} from '../../src/datapath/abi.generated.js'
import { bench, dropped } from './bpf-fixtures.js'
import { addressBytes, ipFrame, openFrame } from './frames.js'
import { FAMILIES, fromCore, HOST, inbound } from './packets.js'
import { eidKey, MAC, OWN_RLOC, PEER_RLOC, VERDICT } from './workbench.js'

const MOVING = LOCAL_EID_FLAGS.moving
const STRANGER = { 4: '198.51.100.77', 6: '2001:db8:d::77' } as const
const [COPY, REDIRECT] = [1, 2]

function bytes(text: string): Uint8Array {
  const padded = new Uint8Array(16)
  padded.set(addressBytes(text))
  return padded
}

function putMove(family: 4 | 6, about: Partial<BpfMove>): void {
  const peer = {
    family,
    flags: 0,
    pathMtu: 1500,
    source: bytes(OWN_RLOC[family]),
    destination: bytes(PEER_RLOC[family]),
  }
  const now = process.hrtime.bigint()
  const lease = { untilNs: now + 60_000_000_000n, refilledNs: now, tokens: 1e6, bytesPerMs: 1e5 }
  const move = { ...lease, cut: 0, role: MOVE_ROLE.source, flags: 0, peer, ...about }
  bench.maps.update('moves', encodeBpfEidKey(eidKey(HOST[family])), encodeBpfMove(move))
}

/** A packet that carries a kind and a stamp, from the peer unless said otherwise. */
function stamped(family: 4 | 6, kind: number, stamp: number, source: string = PEER_RLOC[family]) {
  const nonce: [number, number, number] = [
    (kind << 6) | (stamp >> 16),
    (stamp >> 8) & 255,
    stamp & 255,
  ]
  return bench.fromCore(
    fromCore(family, inbound(family), { lisp: { flags: 0x88, nonce }, outer: { source } }),
  )
}

t.test('the source of a live move delivers as always, and a copy leaves', async (t) => {
  for (const family of FAMILIES) {
    bench.putLocal(HOST[family], 'local', { mac: MAC.host, flags: MOVING })
    const run = () => bench.fromCore(fromCore(family, inbound(family)))
    const made = () => bench.tallies('copied') + bench.drops('copy-failed')
    const before = made()
    putMove(family, {})
    const { verdict, packet } = run()
    t.equal(verdict, VERDICT.redirect)
    t.same(packet, ipFrame(MAC.host, MAC.site, inbound(family)), `IPv${family} unharmed`)
    t.equal(made(), before + 1, 'one was made, for the next hop if it has a neighbour')
    putMove(family, { tokens: 10, bytesPerMs: 0 })
    const limited = bench.drops('copy-rate-limited')
    t.equal(run().verdict, VERDICT.redirect, 'delivered, but not copied')
    t.equal(bench.drops('copy-rate-limited'), limited + 1)
    putMove(family, { untilNs: 1n })
    run()
    t.equal(made(), before + 1, 'the lease is over')
    bench.deleteLocal(HOST[family])
  }
})

t.test('what the source redirects is stamped', async (t) => {
  bench.putLocal(HOST[4], 'away', { flags: MOVING })
  bench.putMapCache(HOST[4], 'forward', [{ family: 4 }])
  putMove(4, {})
  const { packet } = bench.fromCore(fromCore(4, inbound(4)))
  t.same(openFrame(packet).inner, inbound(4, { ttl: 63 }))
  const lisp = packet.slice(14 + 28, 14 + 32)
  t.equal(lisp[0]! & 0x80, 0x80, 'N')
  t.equal(lisp[1]! >> 6, REDIRECT)
  const stamp = ((lisp[1]! & 0xf) << 16) | (lisp[2]! << 8) | lisp[3]!
  const now = Number((process.hrtime.bigint() >> 16n) & 0xfffffn)
  t.ok(((now - stamp) & 0xfffff) < 16_000, 'of this clock, less than a second ago')
  bench.deleteMapCache(HOST[4])
  bench.deleteLocal(HOST[4])
})

t.test('the destination holds what its peer stamped and sends all else on', async (t) => {
  const { core } = bench.network
  bench.putNode({ holdInterfaceIndex: core })
  bench.putMapCache(HOST[4], 'forward', [{ family: 4 }])
  bench.putLocal(HOST[4], 'standby', { flags: MOVING })
  const role = MOVE_ROLE.destination
  putMove(4, { role, flags: MOVE_FLAGS['pass-on'] })
  const held = bench.tallies('held')
  const { packet } = stamped(4, COPY, 0x12345)
  t.same([...packet.slice(8, 12)], [0x80, 0x41, 0x23, 0x45], 'with its nonce in the hold header')
  stamped(4, REDIRECT, 0x12345)
  t.equal(bench.tallies('held'), held + 2)
  const other = stamped(4, COPY, 0x12345, STRANGER[4])
  t.same(openFrame(other.packet).inner, inbound(4, { ttl: 63 }), 'a stranger is believed nothing')
  bench.fromCore(fromCore(4, inbound(4)))
  t.equal(bench.tallies('held'), held + 2, 'nor is what carries no stamp held')
  putMove(4, { role })
  bench.fromCore(fromCore(4, inbound(4)))
  t.equal(bench.tallies('held'), held + 3, 'until the endpoint has stopped')
  bench.emptyHold()
  bench.deleteMapCache(HOST[4])
  bench.deleteLocal(HOST[4])
  bench.putNode({})
})

t.test('copies that were seen at the source are dropped, by stamp, and no others', async (t) => {
  const role = MOVE_ROLE.destination
  for (const family of FAMILIES) {
    bench.putLocal(HOST[family], 'local', { mac: MAC.host, flags: MOVING })
    putMove(family, { role, flags: MOVE_FLAGS['has-cut'], cut: 0x00010 })
    const before = (0x00010 - 0x20) & 0xfffff
    dropped(t, 'seen-at-source', () => stamped(family, COPY, before), 'before the cut, across 0')
    t.equal(stamped(family, COPY, 0x00010).verdict, VERDICT.redirect, 'at the cut')
    t.equal(stamped(family, REDIRECT, before).verdict, VERDICT.redirect, 'a redirect never is')
    t.equal(stamped(family, COPY, before, STRANGER[family]).verdict, VERDICT.redirect)
    putMove(family, { role, flags: MOVE_FLAGS['has-cut'], cut: 0x10, untilNs: 1n })
    t.equal(
      stamped(family, COPY, before).verdict,
      VERDICT.redirect,
      'long ago: stamps have wrapped',
    )
    putMove(family, { role, flags: MOVE_FLAGS['drop-copies'] })
    dropped(t, 'seen-at-source', () => stamped(family, COPY, 0x20), 'it stayed at the source')
    bench.deleteLocal(HOST[family])
  }
})
