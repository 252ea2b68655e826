/**
 * `/v1/move-batches`: many moves towards this node in one call, so many at once, with progress.
 */
import type { FastifyPluginCallbackTypebox } from '@fastify/type-provider-typebox'
import { parseAddressText } from '../../config/address-text.js'
import { Type } from '../../config/schema-builder.js'
import { MAXIMUM_ENDPOINT_EIDS } from '../../lisp/eid.js'
import type { RouteOptions } from '../context.js'
import { ApiError } from '../errors.js'
import {
  type Batch,
  createMoveBatches,
  itemView,
  MAXIMUM_BATCH_MOVES,
  type MoveBatches,
} from '../move-batches.js'
import { readEid } from '../selection.js'
import { errorResponses } from '../views.js'

const BatchProgress = {
  batchId: Type.String(),
  total: Type.Integer(),
  waiting: Type.Integer(),
  underWay: Type.Integer(),
  converged: Type.Integer(),
  failed: Type.Integer(),
  cancelled: Type.Integer(),
  elapsedMs: Type.Integer({ description: 'Until now, or until the last one had ended' }),
  done: Type.Boolean(),
}
const BatchEntry = Type.Object(BatchProgress)
const BatchDetail = Type.Object({
  ...BatchProgress,
  moves: Type.Array(
    Type.Object({
      eids: Type.Array(Type.String()),
      state: Type.String(),
      moveId: Type.Optional(Type.String()),
      reason: Type.Optional(Type.String()),
    }),
  ),
})
const BatchParams = Type.Object({ batchId: Type.String({ minLength: 1, maxLength: 64 }) })

const StartBatch = Type.Object(
  {
    moves: Type.Array(
      Type.Object(
        { eids: Type.Array(Type.String(), { minItems: 1, maxItems: MAXIMUM_ENDPOINT_EIDS }) },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: MAXIMUM_BATCH_MOVES, description: 'One per endpoint' },
    ),
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    source: Type.Optional(
      Type.String({ description: 'RLOC of the xTR they leave; else the mapping system is asked' }),
    ),
    mode: Type.Optional(Type.Enum(['switch', 'live'] as const)),
    atOnce: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 256,
        description: 'Under way and not registered at once; default 64',
      }),
    ),
  },
  { additionalProperties: false },
)

export const moveBatchRoutes: FastifyPluginCallbackTypebox<RouteOptions> = (
  app,
  { context },
  done,
) => {
  // Listens to the node only once somebody has asked for a batch.
  let made: MoveBatches | undefined
  const batches = (): MoveBatches => {
    made ??= createMoveBatches(context, Date.now)
    return made
  }
  app.addHook('onClose', async () => made?.close())
  const find = (batchId: string): Batch => {
    const batch = made?.get(batchId)
    if (batch === undefined) throw new ApiError(404, 'batch-not-found', `no batch ${batchId}`)
    return batch
  }
  app.post(
    '/v1/move-batches',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        summary: 'Move many endpoints to this node; answers at once, progress is read from it',
        tags: ['moves'],
        body: StartBatch,
        response: { 202: BatchEntry, ...errorResponses },
      },
    },
    async ({ body }, reply) => {
      const source = body.source === undefined ? undefined : parseAddressText(body.source)
      if (body.source !== undefined && source === undefined) {
        const message = `"${body.source}" is not an RLOC; write an IPv4 or IPv6 address`
        throw new ApiError(400, 'invalid-rloc', message, 'body.source')
      }
      const moves = body.moves.map(({ eids }, index) =>
        eids.map((text, at) => readEid(text, body.instanceId, `body.moves[${index}].eids[${at}]`)),
      )
      const { mode = 'switch', atOnce = AT_ONCE } = body
      const batch = batches().start({ moves, mode, source, atOnce })
      return reply.code(202).send(progressOf(batch))
    },
  )
  app.get(
    '/v1/move-batches',
    {
      schema: {
        summary: 'Batches of moves, those under way and the latest finished ones',
        tags: ['moves'],
        response: { 200: Type.Object({ batches: Type.Array(BatchEntry) }), ...errorResponses },
      },
    },
    () => ({ batches: (made?.list() ?? []).map(progressOf) }),
  )
  app.get(
    '/v1/move-batches/:batchId',
    {
      schema: {
        summary: 'One batch with all of its moves',
        tags: ['moves'],
        params: BatchParams,
        response: { 200: BatchDetail, ...errorResponses },
      },
    },
    ({ params }) => detailOf(find(params.batchId)),
  )
  app.delete(
    '/v1/move-batches/:batchId',
    {
      schema: {
        summary: 'Begin no more of its moves, and roll back those whose endpoints have not arrived',
        tags: ['moves'],
        params: BatchParams,
        response: { 200: BatchDetail, ...errorResponses },
      },
    },
    async ({ params }) => {
      const batch = find(params.batchId)
      await batches().cancel(batch)
      return detailOf(batch)
    },
  )
  done()
}

function progressOf({ batchId, items, startedAtMs, endedAtMs }: Batch) {
  const count = (...states: readonly string[]): number =>
    items.filter(({ state }) => states.includes(state)).length
  return {
    batchId,
    total: items.length,
    waiting: count('waiting'),
    underWay: count('preparing', 'ready', 'registered'),
    converged: count('converged'),
    failed: count('failed'),
    cancelled: count('cancelled'),
    elapsedMs: Math.round((endedAtMs ?? Date.now()) - startedAtMs),
    done: endedAtMs !== undefined,
  }
}

function detailOf(batch: Batch) {
  return { ...progressOf(batch), moves: batch.items.map(itemView) }
}

/** Choice: as many confirmations may be outstanding as a Map-Server acknowledges in a moment. */
const AT_ONCE = 64
/** 4,096 endpoints of two EIDs each are some 400 KB. */
const BODY_LIMIT_BYTES = 1 << 20
