/** `godwit move`: prepare a move towards this node, and follow it to its end. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { MoveEntryView } from '../../api/views.js'
import { coloured } from '../columns.js'
import { type CliCommand, type CommandContext, numberOption, textOption } from '../command.js'
import { CliFailure } from '../failure.js'

export const moveCommands: readonly CliCommand[] = [
  {
    usage: 'move <eid...>',
    summary: 'prepare a move of all EIDs of an endpoint to this node',
    options: [
      ['--source <rloc>', 'RLOC of the xTR they leave; else the mapping system is asked'],
      ['--instance-id <number>', 'instance-ID of EIDs without brackets'],
      ['--live', 'it runs on at its source until it is said to have stopped'],
      ['--wait', 'follow the timeline until the move has converged or failed'],
      ['--timeout <seconds>', 'how long to wait (default 30)'],
      ['--idempotency-key <text>', 'a repetition with the same key does not move again'],
    ],
    examples: [
      "godwit move '[7]10.10.0.5' '[7]fd00:10::5' --wait",
      'godwit move 10.10.0.5 --instance-id 7 --source 172.16.1.1',
    ],
    run: runMove,
  },
  {
    usage: 'cancel-move <move>',
    summary: 'roll back a move whose endpoint has not arrived',
    run: async (context) => {
      const [moveId] = context.arguments
      await context.client().delete(`/v1/moves/${encodeURIComponent(String(moveId))}`)
      context.print(context.json ? '{"ok": true}' : `move ${moveId} rolled back`)
    },
  },
]

/** A move with its whole timeline, times relative to the request. */
export function formatMove(move: MoveEntryView, colour: boolean): string {
  return [headingOf(move, colour), ...move.timeline.map((_, at) => lineOf(move, at, colour))].join(
    '\n',
  )
}

async function runMove(context: CommandContext): Promise<void> {
  const client = context.client()
  const source = textOption(context, 'source')
  const instanceId = numberOption(context, 'instanceId')
  const eids = context.arguments[0]
  const body = {
    eids,
    ...(source === undefined ? {} : { source }),
    ...(instanceId === undefined ? {} : { instanceId }),
    ...(context.options['live'] === true ? { mode: 'live' } : {}),
  }
  const headers = { 'idempotency-key': textOption(context, 'idempotencyKey') ?? randomUUID() }
  let move = await client.post<MoveEntryView>('/v1/moves', body, headers)
  const wait = context.options['wait'] === true
  if (!wait) {
    context.print(context.json ? JSON.stringify(move, null, 2) : formatMove(move, context.colour))
    return
  }
  let shown = 0
  const show = (): void => {
    if (context.json) return
    if (shown === 0) context.print(headingOf(move, context.colour))
    for (; shown < move.timeline.length; shown++) {
      context.print(lineOf(move, shown, context.colour))
    }
  }
  show()
  const timeoutMs = (numberOption(context, 'timeout') ?? 30) * 1000
  const deadline = performance.now() + timeoutMs
  while (move.state !== 'converged' && move.state !== 'failed') {
    if (performance.now() > deadline) {
      throw new CliFailure(
        `move ${move.moveId} is still ${move.state} after ${timeoutMs / 1000} s`,
        `look again with "godwit show moves ${move.moveId}"`,
      )
    }
    await delay(POLL_MS)
    move = await client.get<MoveEntryView>(`/v1/moves/${encodeURIComponent(move.moveId)}`)
    show()
  }
  if (context.json) context.print(JSON.stringify(move, null, 2))
  if (move.state === 'failed') {
    throw new CliFailure(`move ${move.moveId} failed: ${move.reason ?? 'no reason given'}`)
  }
}

function headingOf(move: MoveEntryView, colour: boolean): string {
  const from = move.source ?? 'nowhere'
  const name = coloured(colour, 'bold', `move ${move.moveId}`)
  return `${name}  ${move.eids.join(', ')}  ${from} -> ${move.destination}`
}

function lineOf(move: MoveEntryView, at: number, colour: boolean): string {
  const entry = move.timeline[at]
  if (entry === undefined) return ''
  const after = Math.round((move.timeline[0]?.agoMs ?? 0) - entry.agoMs)
  const tint = STAGE_COLOURS[entry.stage]
  const stage = tint === undefined ? entry.stage : coloured(colour, tint, entry.stage)
  // Only while it is the last thing that happened is it an instruction.
  const waiting = entry.stage === 'ready' && at === move.timeline.length - 1
  const note = entry.stage === 'failed' && move.reason ? ` (${move.reason})` : ''
  return `${String(after).padStart(7)} ms  ${stage}${note}${waiting ? ': switch the link now' : ''}`
}

const STAGE_COLOURS: Readonly<Record<string, 'green' | 'red' | 'cyan'>> = {
  ready: 'cyan',
  converged: 'green',
  failed: 'red',
}

/** Fine enough to see the stages appear, slow enough to cost the daemon nothing. */
const POLL_MS = 100
