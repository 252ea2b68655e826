/**
 * The verdict: the figures, the TCP connection and what the panel counted, as one value. Pure.
 *
 * `ok` is the promise of the system and nothing softer: every orchestrated and blackout move lost
 * nothing, every first packet arrived, TCP is intact. A detected move may lose; it is reported.
 */
import type { Figures, MoveRow } from './analysis.js'
import type { TcpReport } from './traffic.js'

export interface DemoResult {
  readonly firstPacketLost: number
  readonly moves: readonly MoveRow[]
  readonly tcp: {
    /** Verified, both directions. */
    readonly bytes: number
    readonly corrupt: number
    readonly resets: number
    readonly longestStallMs: number
  }
  readonly ok: boolean
}

/** What `judge` has to know of the moves as they were performed. */
export function expectationOf(
  moves: number,
  performed: readonly { readonly failure?: string | undefined; readonly leakedFrames: number }[],
): { moves: number; performed: number; leakedFrames: number } {
  return {
    moves,
    performed: performed.filter(({ failure }) => failure === undefined).length,
    leakedFrames: performed.reduce((sum, move) => sum + move.leakedFrames, 0),
  }
}

/** Judges a run; `reasons` says in words what was not as promised. */
export function judge(
  figures: Figures,
  tcp: { readonly connect: TcpReport; readonly serve: TcpReport },
  expected: {
    readonly moves: number
    readonly performed: number
    readonly leakedFrames: number
  },
): { result: DemoResult; reasons: string[] } {
  const { connect, serve } = tcp
  const summary = {
    bytes: connect.received + serve.received,
    corrupt: connect.corrupt + serve.corrupt,
    resets: connect.resets + serve.resets,
    longestStallMs: Math.max(connect.longestStallMs, serve.longestStallMs),
  }
  const reasons: string[] = []
  const lossy = figures.moves.filter(({ trigger, lost }) => trigger !== 'detected' && lost > 0)
  if (lossy.length > 0) {
    const lost = lossy.reduce((sum, row) => sum + row.lost, 0)
    reasons.push(`${lost} packets lost in moves that were prepared`)
  }
  if (figures.firstPacketLost > 0) reasons.push(`${figures.firstPacketLost} first packets lost`)
  if (figures.lostElsewhere > 0) reasons.push(`${figures.lostElsewhere} packets lost between moves`)
  if (figures.moves.some(({ sent }) => sent === 0)) reasons.push('a stream sent nothing in a move')
  if (expected.performed < expected.moves) {
    reasons.push(`${expected.moves - expected.performed} moves did not take place`)
  }
  if (expected.leakedFrames > 0) {
    reasons.push(`${expected.leakedFrames} frames came through the old cloud after a switch`)
  }
  if (summary.corrupt > 0 || summary.resets > 0) reasons.push('the TCP connection was damaged')
  const allArrived = connect.sent === serve.received && serve.sent === connect.received
  if (!connect.complete || !serve.complete || !allArrived) {
    reasons.push('the TCP connection did not end with all bytes delivered')
  }
  const { firstPacketLost, moves } = figures
  return { result: { firstPacketLost, moves, tcp: summary, ok: reasons.length === 0 }, reasons }
}
