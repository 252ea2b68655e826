/**
 * Live moves in the kernel: what the map `moves` says of an EID beside its local entry.
 *
 * Written before the entry that refers to it (`LISP_LOCAL_EID_MOVING`) and removed after it. Leases are
 * moments of CLOCK_MONOTONIC, so that copies end by themselves when no daemon renews them.
 */
import type { LocalMove } from '../control/datapath-operation.js'
import { type EidPrefix, isHostPrefix } from '../lisp/eid.js'
import { locator, type Rloc } from '../lisp/locator.js'
import {
  type BpfMove,
  decodeBpfMove,
  encodeBpfMove,
  MOVE_FLAGS,
  MOVE_ROLE,
} from './abi.generated.js'
import type { BpfMaps } from './bpf-maps.js'
import { addressOf, eidKey } from './eid-keys.js'

/** Values of enum hold_cut (native/addon/hold_queues.h). */
export const HOLD_CUT = { unknown: 0, all: 1 << 30, stamp: 1 << 29 } as const

/** Throws like every map write; a prefix that is no host has no move. */
export function writeMove(
  maps: BpfMaps,
  eidPrefix: EidPrefix,
  move: LocalMove,
  copyBytesPerMs: number,
): void {
  if (!isHostPrefix(eidPrefix)) return
  maps.update('moves', eidKey(eidPrefix), encodeBpfMove(bpfOf(move, copyBytesPerMs)))
}

/** What `mobility.live.copyMegabitsPerSecond` is in the unit of the map. */
export function copyBytesPerMs(megabitsPerSecond: number): number {
  return megabitsPerSecond * 125
}

export function removeMove(maps: BpfMaps, eidPrefix: EidPrefix): void {
  if (!isHostPrefix(eidPrefix)) return
  const key = eidKey(eidPrefix)
  if (maps.lookup('moves', key) !== undefined) maps.remove('moves', key)
}

/** What the hold does with copies when it lets packets of this EID out. */
export function holdCutOf(move: LocalMove | undefined): number {
  if (move?.kind !== 'destination' || move.copies === 'all') return HOLD_CUT.unknown
  return move.copies === 'none' ? HOLD_CUT.all : HOLD_CUT.stamp | move.copies
}

/**
 * What an earlier run left, with what remains of its lease; undefined when there is nothing, or
 * nothing that is worth going on with.
 */
export function readMove(maps: BpfMaps, eidPrefix: EidPrefix): LocalMove | undefined {
  const value = isHostPrefix(eidPrefix) ? maps.lookup('moves', eidKey(eidPrefix)) : undefined
  if (value === undefined) return undefined
  const { untilNs, role, flags, cut, peer } = decodeBpfMove(value)
  const leaseMs = Number(untilNs - process.hrtime.bigint()) / 1e6
  const [to, source] = [peer.destination, peer.source].map((one) => addressOf(peer.family, one))
  if (to === undefined) return undefined
  if (role !== MOVE_ROLE.source) {
    const isSet = (name: keyof typeof MOVE_FLAGS): boolean => (flags & MOVE_FLAGS[name]) !== 0
    const copies = isSet('drop-copies') ? 'none' : isSet('has-cut') ? cut : 'all'
    const left = { leaseMs: Math.max(1, leaseMs), passOn: isSet('pass-on'), copies } as const
    return { kind: 'destination', peer: to, ...left }
  }
  if (leaseMs <= 0 || source === undefined) return undefined
  const encapsulation = { locator: locator(to), source, pathMtu: peer.pathMtu }
  return { kind: 'source', encapsulation, leaseMs }
}

function bpfOf(move: LocalMove, bytesPerMs: number): BpfMove {
  const now = process.hrtime.bigint()
  const common = {
    untilNs: now + BigInt(Math.round(move.leaseMs * 1e6)),
    refilledNs: now,
    tokens: bytesPerMs * BURST_MS,
    bytesPerMs,
  }
  if (move.kind === 'source') {
    const { locator: to, source, pathMtu } = move.encapsulation
    const peer = bpfLocator(to.rloc, source, pathMtu)
    return { ...common, cut: 0, role: MOVE_ROLE.source, flags: 0, peer }
  }
  const { copies, passOn } = move
  const cut = typeof copies === 'number' ? copies : undefined
  const flags =
    (passOn ? MOVE_FLAGS['pass-on'] : 0) |
    (cut !== undefined ? MOVE_FLAGS['has-cut'] : 0) |
    (copies === 'none' ? MOVE_FLAGS['drop-copies'] : 0)
  const peer = bpfLocator(move.peer, undefined, 0)
  return { ...common, cut: cut ?? 0, role: MOVE_ROLE.destination, flags, peer }
}

function bpfLocator(to: Rloc, source: Rloc | undefined, pathMtu: number): BpfMove['peer'] {
  const own = source?.bytes ?? new Uint8Array(to.bytes.length)
  return { family: to.family, flags: 0, pathMtu, source: own, destination: to.bytes }
}

/** At the beginning; what comes at once later is the programs' choice. */
const BURST_MS = 100
