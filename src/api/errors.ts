/**
 * One form for every error that leaves the API: `{error: {code, message, field?, details?}}`.
 *
 * Codes are kebab-case and stable; messages are for people and may change. A fault of ours is
 * logged with its cause and says nothing about it outside.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Static } from 'typebox'
import type { CommandResult } from '../control/command.js'
import type { ErrorBody } from './views.js'

export class ApiError extends Error {
  readonly status: number
  readonly code: string
  /** The offending place of the request, as `body.eids[0]` or `query.eid`. */
  readonly field: string | undefined

  constructor(status: number, code: string, message: string, field?: string) {
    super(message)
    this.status = status
    this.code = code
    this.field = field
  }
}

/** The node refused a command: its status (when it is an error status), code and message. */
export function commandFailed(result: Extract<CommandResult, { ok: false }>): ApiError {
  const status = result.status >= 400 && result.status <= 599 ? result.status : 500
  return new ApiError(status, result.code, result.message)
}

/** What of a logger the API needs; pino's fits. */
export interface ApiLog {
  error(fields: object, message: string): void
}

/** Makes every failure of `app`, unknown routes included, answer in the one form. */
export function installErrorHandlers(app: FastifyInstance, log: ApiLog | undefined): void {
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!.slice(0, MAXIMUM_SHOWN_PATH)
    const message = `no ${request.method} ${path}; all routes are in /openapi.json`
    return reply.code(404).send(errorBody('not-found', message))
  })
  app.setErrorHandler((error: FastifyError | ApiError, request, reply) => {
    const { status, body } = describeError(error)
    if (status >= 500 && !(error instanceof ApiError)) {
      log?.error({ err: error, method: request.method, url: request.url }, 'api-request-failed')
    }
    return reply.code(status).send(body)
  })
}

/** Answers what is no URL or has a part that is too long, before there is a route for it. */
export function refuseUrl(
  error: FastifyError,
  _request: FastifyRequest,
  reply: FastifyReply,
): void {
  const isLong = error.code === 'FST_ERR_MAX_PARAM_LENGTH'
  const message = isLong ? 'a part of the path is too long' : 'the path is not a valid URL'
  void reply
    .code(error.statusCode ?? 400)
    .send(errorBody(isLong ? 'path-too-long' : 'invalid-path', message))
}

function errorBody(code: string, message: string, field?: string): ErrorAnswer {
  return { error: { code, message, ...(field === undefined ? {} : { field }) } }
}

/** Status and body for whatever was thrown in a route. */
export function describeError(error: unknown): { status: number; body: ErrorAnswer } {
  if (error instanceof ApiError) {
    return { status: error.status, body: errorBody(error.code, error.message, error.field) }
  }
  const failure = error as Partial<FastifyError>
  if (failure.validation !== undefined) return { status: 400, body: validationBody(failure) }
  const known = FRAMEWORK_CODES[failure.code ?? '']
  if (known !== undefined) {
    return { status: failure.statusCode ?? 400, body: errorBody(known, failure.message ?? known) }
  }
  const status = failure.statusCode ?? 500
  if (status >= 400 && status < 500) {
    return { status, body: errorBody('invalid-request', failure.message ?? 'invalid request') }
  }
  return { status: 500, body: errorBody('internal-error', 'the daemon failed; see its log') }
}

type ErrorAnswer = Static<typeof ErrorBody>

interface ValidationProblem {
  readonly instancePath?: string
  readonly message?: string
  readonly params?: Readonly<Record<string, unknown>>
}

function validationBody(failure: Partial<FastifyError>): ErrorAnswer {
  const place = CONTEXT_NAMES[failure.validationContext ?? ''] ?? 'body'
  const problems = ((failure.validation ?? []) as ValidationProblem[])
    .slice(0, MAXIMUM_DETAILS)
    .map((problem) => detailOf(place, problem))
  const first = problems[0] ?? { field: place, message: 'is not valid' }
  return {
    error: {
      code: 'invalid-request',
      message: `${first.field} ${first.message}`,
      field: first.field,
      details: problems,
    },
  }
}

function detailOf(place: string, problem: ValidationProblem): { field: string; message: string } {
  const field = (problem.instancePath ?? '')
    .split('/')
    .slice(1)
    .reduce((path, key) => (/^\d+$/.test(key) ? `${path}[${key}]` : `${path}.${key}`), place)
  const inner = (name: unknown): string => `${field}.${String(name)}`
  const { additionalProperty, missingProperty } = problem.params ?? {}
  if (additionalProperty !== undefined)
    return { field: inner(additionalProperty), message: 'is not known' }
  if (missingProperty !== undefined) return { field: inner(missingProperty), message: 'is missing' }
  return { field, message: problem.message ?? 'is not valid' }
}

const FRAMEWORK_CODES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body-too-large',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid-json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid-json',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid-request',
}

const CONTEXT_NAMES: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
}

/** Enough to recognise what was asked for. */
const MAXIMUM_SHOWN_PATH = 200

/** Nobody reads more, and a body may hold thousands of wrong items. */
const MAXIMUM_DETAILS = 20
