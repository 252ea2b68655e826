/** `/v1/move-batches`: many moves in one call, paced, with progress and a way back. */
import { request } from 'node:http'
import t from 'tap'
import { type Api, startApi } from '../../src/api/server.js'
import type { Command, CommandResult } from '../../src/control/command.js'
import { formatEid } from '../../src/lisp/eid.js'
import { aConfig, aDatapath, createFakeNode } from '../support/fake-node.js'

const node = createFakeNode()
const config = aConfig()
let api: Api
let started = 0

t.before(async () => {
  api = await startApi({ node, datapath: aDatapath, config, version: '1', startedAt: new Date() })
})
t.teardown(() => api.close())
t.beforeEach(() => {
  node.commands.length = 0
  started = 0
  node.answer = async (): Promise<CommandResult> => ({
    ok: true,
    value: { moveId: `m${++started}` },
  })
})

const many = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ eids: [`10.10.0.${index + 1}`] }))
const end = (
  moveId: string,
  name: 'move-registered' | 'move-converged' | 'move-failed' = 'move-converged',
): void => node.emit({ name, severity: 'notice', moveId, reason: 'timeout' })
const asked = (): string[] =>
  node.commands.flatMap((command: Command) =>
    command.kind === 'start-move' ? command.eids.map(formatEid) : [],
  )

t.test(
  'moves begin in order, never more at once than was said, until all have ended',
  async (t) => {
    const body = { moves: many(5), instanceId: 7, mode: 'live', atOnce: 2 }
    const { status, json } = await call('POST', '/v1/move-batches', body)
    t.equal(status, 202)
    t.match(json, { total: 5, done: false })
    const path = `/v1/move-batches/${json.batchId}`
    t.match((await call('GET', path)).json, { waiting: 3, underWay: 2, converged: 0 })
    t.same(asked(), ['[7]10.10.0.1', '[7]10.10.0.2'])
    t.match(node.commands[0], { kind: 'start-move', mode: 'live' })
    end('m2')
    t.match((await call('GET', path)).json, { waiting: 2, underWay: 2, converged: 1 })
    end('m1', 'move-failed')
    end('m9')
    await call('GET', path)
    for (const name of ['m3', 'm4']) end(name)
    await call('GET', path)
    end('m5')
    const last = (await call('GET', path)).json
    t.match(last, { waiting: 0, underWay: 0, converged: 4, failed: 1, done: true })
    t.match(last.moves[0], {
      eids: ['[7]10.10.0.1'],
      state: 'failed',
      reason: 'timeout',
      moveId: 'm1',
    })
    t.match((await call('GET', '/v1/move-batches')).json, { batches: [{ total: 5, done: true }] })
  },
)

t.test(
  'a registered move makes room for the next, and is under way until it has converged',
  async (t) => {
    const { json } = await call('POST', '/v1/move-batches', { moves: many(2), atOnce: 1 })
    const path = `/v1/move-batches/${json.batchId}`
    await call('GET', path)
    end('m1', 'move-registered')
    end('m1', 'move-registered')
    t.match((await call('GET', path)).json, { waiting: 0, underWay: 2, done: false })
    end('m2', 'move-registered')
    end('m2')
    t.match((await call('GET', path)).json, { underWay: 1, converged: 1, done: false })
    end('m1')
    t.match((await call('GET', path)).json, { converged: 2, done: true })
    t.equal(asked().length, 2)
  },
)

t.test('a move that is refused counts as failed, and the next one begins', async (t) => {
  node.answer = async () => ({ ok: false, status: 403, code: 'not-ours', message: 'not ours' })
  const { json } = await call('POST', '/v1/move-batches', { moves: many(3), atOnce: 1 })
  const detail = (await call('GET', `/v1/move-batches/${json.batchId}`)).json
  t.match(detail, { failed: 3, done: true })
  t.equal(detail.moves[2].reason, 'not ours')
})

t.test('a mapping system too busy to answer is asked again later, but not for ever', async (t) => {
  const refusal = {
    ok: false,
    status: 504,
    code: 'mapping-system-silent',
    message: 'silent',
  } as const
  let refusals = 0
  node.answer = async (command): Promise<CommandResult> => {
    const isFirst = command.kind === 'start-move' && formatEid(command.eids[0]!).endsWith('.1')
    if (isFirst && refusals++ < 2) return refusal
    return { ok: true, value: { moveId: `m${++started}` } }
  }
  const { json } = await call('POST', '/v1/move-batches', { moves: many(2), atOnce: 1 })
  const path = `/v1/move-batches/${json.batchId}`
  await call('GET', path)
  t.same(asked(), ['10.10.0.1', '10.10.0.2'])
  end('m1')
  await call('GET', path)
  end('m2')
  t.match((await call('GET', path)).json, { converged: 2, failed: 0, done: true })
  t.same(asked(), ['10.10.0.1', '10.10.0.2', '10.10.0.1', '10.10.0.1'])

  node.answer = async () => refusal
  const silent = await call('POST', '/v1/move-batches', { moves: many(1) })
  const last = await call('GET', `/v1/move-batches/${silent.json.batchId}`)
  t.match(last.json, { failed: 1, done: true, moves: [{ reason: 'silent' }] })
  t.equal(asked().length, 4 + 4)
})

t.test('an end that is told before the answer is not missed', async (t) => {
  node.answer = async () => {
    end('quick')
    return { ok: true, value: { moveId: 'quick' } }
  }
  const { json } = await call('POST', '/v1/move-batches', { moves: many(1) })
  t.match((await call('GET', `/v1/move-batches/${json.batchId}`)).json, {
    converged: 1,
    done: true,
  })
})

t.test('a cancelled batch begins no more and rolls back what has not arrived', async (t) => {
  const { json } = await call('POST', '/v1/move-batches', { moves: many(4), atOnce: 2 })
  node.answer = async (command) =>
    command.kind === 'cancel-move' && command.moveId === 'm1'
      ? { ok: false, status: 409, code: 'arrived', message: 'it has arrived' }
      : { ok: true, value: {} }
  const path = `/v1/move-batches/${json.batchId}`
  const detail = (await call('DELETE', path)).json
  t.match(detail, { cancelled: 3, underWay: 1, waiting: 0 })
  end('m2', 'move-failed')
  end('m1')
  t.match((await call('GET', path)).json, { cancelled: 3, converged: 1, failed: 0, done: true })
  t.equal(asked().length, 2)
})

t.test('a list that is too long, empty or wrong is refused before anything begins', async (t) => {
  const moves = many(1)
  t.equal((await call('POST', '/v1/move-batches', { moves: [] })).status, 400)
  t.equal((await call('POST', '/v1/move-batches', { moves: [{ eids: ['x'] }] })).status, 400)
  t.equal((await call('POST', '/v1/move-batches', { moves, source: 'x' })).status, 400)
  t.equal((await call('POST', '/v1/move-batches', { moves, atOnce: 0 })).status, 400)
  const long = Array.from({ length: 4_097 }, () => moves[0])
  t.equal((await call('POST', '/v1/move-batches', { moves: long })).status, 400)
  t.equal((await call('GET', '/v1/move-batches/none')).status, 404)
  t.same(node.commands, [])
})

function call(
  method: string,
  path: string,
  body?: unknown,
  // biome-ignore lint/suspicious/noExplicitAny: answers are compared as JSON
): Promise<{ status: number; json: any }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const options = { socketPath: config.api.socket, path, method, headers, agent: false as const }
    const outgoing = request(options, (response) => {
      let text = ''
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, json: JSON.parse(text || 'null') }),
      )
    })
    outgoing.on('error', reject)
    outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  })
}
