/**
 * `/v1/moves`: a move is a resource with a timeline.
 *
 * POST is sent to the destination before the endpoint's link is switched, and answers when the
 * source redirects and the destination holds ("ready"): switch the link then. With `Idempotency-
 * Key` a repetition gets the first answer instead of a second move. A *live* move has two more
 * phases, for callers that do not send events of the endpoint: `switch`, at the source when the
 * endpoint has stopped, and `confirm`, at the destination when it runs.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { parseAddressText } from '../../config/address-text.js'
import { Type } from '../../config/schema-builder.js'
import type { MoveView } from '../../control/snapshot.js'
import { type Eid, MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import { type ApiContext, type RouteOptions, runCommand } from '../context.js'
import { ApiError, describeError } from '../errors.js'
import { type Answer, createIdempotentAnswers } from '../idempotency.js'
import { entryOf } from '../move-entry.js'
import { readEid } from '../selection.js'
import { errorResponses, MoveEntry, type MoveEntryView } from '../views.js'
import { tellEndpointEvent } from './endpoint-events.js'

const StartMove = Type.Object(
  {
    eids: Type.Array(Type.String(), {
      minItems: 1,
      maxItems: MAXIMUM_ENDPOINT_EIDS,
      description: 'All EIDs of the endpoint: they move together',
    }),
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    source: Type.Optional(
      Type.String({ description: 'RLOC of the xTR they leave; else the mapping system is asked' }),
    ),
    mode: Type.Optional(
      Type.Enum(['switch', 'live'] as const, {
        description: 'live: the endpoint runs on at the source after "ready", until it stops there',
      }),
    ),
    phase: Type.Optional(
      Type.Enum(['prepare', 'switch', 'confirm'] as const, {
        description: 'switch: it has stopped here; confirm: it runs here; default prepare',
      }),
    ),
  },
  { additionalProperties: false },
)

const MoveParams = Type.Object({ moveId: Type.String({ minLength: 1, maxLength: 64 }) })

export const moveRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (app, { context }, done) => {
  const answers = createIdempotentAnswers(Date.now)
  app.get(
    '/v1/moves',
    {
      schema: {
        summary: 'Moves, those under way and the latest finished ones',
        tags: ['moves'],
        response: { 200: Type.Object({ moves: Type.Array(MoveEntry) }), ...errorResponses },
      },
    },
    () => {
      const now = Date.now()
      return { moves: context.node.snapshot().moves.map((move) => entryOf(move, now)) }
    },
  )
  app.get(
    '/v1/moves/:moveId',
    {
      schema: {
        summary: 'One move with its timeline',
        tags: ['moves'],
        params: MoveParams,
        response: { 200: MoveEntry, ...errorResponses },
      },
    },
    ({ params }) => entryOf(findMove(context, params.moveId), Date.now()),
  )
  app.post(
    '/v1/moves',
    {
      schema: {
        summary: 'Prepare a move towards this node; answers when the link may be switched',
        tags: ['moves'],
        headers: Type.Object({
          'idempotency-key': Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
        }),
        body: StartMove,
        response: { 201: MoveEntry, ...errorResponses },
      },
    },
    async ({ body, headers }, reply) => {
      const eids = body.eids.map((text, index) =>
        readEid(text, body.instanceId, `body.eids[${index}]`),
      )
      const source = body.source === undefined ? undefined : parseAddressText(body.source)
      if (body.source !== undefined && source === undefined) {
        const message = `"${body.source}" is not an RLOC; write an IPv4 or IPv6 address`
        throw new ApiError(400, 'invalid-rloc', message, 'body.source')
      }
      const { mode = 'switch', phase = 'prepare' } = body
      const act = async (): Promise<Answer> => {
        if (phase !== 'prepare') return { status: 201, body: await tell(context, phase, eids) }
        const value = await runCommand(context, { kind: 'start-move', eids, source, mode })
        const move = readMove(context, value)
        return { status: 201, body: entryOf(move, Date.now()) }
      }
      const key = headers['idempotency-key']
      if (key === undefined) return reply.code(201).send((await act()).body as MoveEntryView)
      const { answer, replayed } = await answers.once(key, body, () => settled(act))
      if (replayed) reply.header('idempotency-replayed', 'true')
      return reply.code(answer.status as 201).send(answer.body as MoveEntryView)
    },
  )
  app.delete(
    '/v1/moves/:moveId',
    {
      schema: {
        summary: 'Roll back a move whose endpoint has not arrived',
        tags: ['moves'],
        params: MoveParams,
        response: { 200: MoveEntry, ...errorResponses },
      },
    },
    async ({ params }) => {
      findMove(context, params.moveId)
      await runCommand(context, { kind: 'cancel-move', moveId: params.moveId })
      return entryOf(findMove(context, params.moveId), Date.now())
    },
  )
  done()
}

/** The move that the phase concerns; an `ApiError` when there is none. */
async function tell(
  context: ApiContext,
  phase: 'switch' | 'confirm',
  eids: readonly Eid[],
): Promise<MoveEntryView> {
  const command =
    phase === 'switch'
      ? ({ kind: 'endpoint-stopped', eids, agoMs: 0 } as const)
      : ({ kind: 'endpoint-running', eids } as const)
  const [move] = await tellEndpointEvent(context, command)
  if (move === undefined) throw new ApiError(404, 'move-not-found', 'no move of these EIDs')
  return move
}

/** A refusal is an answer too: the repetition shall hear the same. Faults of ours are not kept. */
async function settled(act: () => Promise<Answer>): Promise<Answer> {
  try {
    return await act()
  } catch (cause) {
    if (cause instanceof ApiError) return describeError(cause)
    throw cause
  }
}

function findMove(context: ApiContext, moveId: string): MoveView {
  const move = context.node.tables.move(moveId)
  if (move === undefined) throw new ApiError(404, 'move-not-found', `no move ${moveId}`)
  return move
}

/** The node answers a started move with its view, or at least with its id. */
function readMove(context: ApiContext, value: unknown): MoveView {
  const answer = (value ?? {}) as Partial<MoveView>
  if (Array.isArray(answer.timeline)) return answer as MoveView
  return findMove(context, String(answer.moveId))
}
