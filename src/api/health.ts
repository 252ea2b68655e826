/**
 * What `/v1/health` says: each check does what a real request would.
 */
import type { Static } from 'typebox'
import type { ApiContext } from './context.js'
import type { HealthView } from './views.js'

export type HealthContext = Pick<
  ApiContext,
  'node' | 'datapath' | 'config' | 'version' | 'startedAt'
>

/** Status 200 when all checks pass, else 503; the exception of a check is its detail. */
export function readHealth(context: HealthContext): {
  readonly status: 200 | 503
  readonly body: Static<typeof HealthView>
} {
  const { config, version, startedAt } = context
  const checks = runChecks(context)
  const ok = checks.every((check) => check.ok)
  const [node, roles] = [config.node, [...config.roles]]
  const body = { ok, node, roles, version, uptimeSeconds: uptimeSeconds(startedAt), checks }
  return { status: ok ? 200 : 503, body }
}

export function uptimeSeconds(startedAt: Date): number {
  return Math.max(0, Math.round((Date.now() - startedAt.getTime()) / 100) / 10)
}

function runChecks(context: HealthContext): { name: string; ok: boolean; detail?: string }[] {
  const attempt = (name: string, work: () => unknown) => {
    try {
      work()
      return { name, ok: true }
    } catch (cause) {
      return { name, ok: false, detail: cause instanceof Error ? cause.message : String(cause) }
    }
  }
  const { datapath } = context
  const checks = [attempt('tables', () => context.node.tables.sizes())]
  if (datapath !== undefined) checks.push(attempt('datapath', () => datapath.counters()))
  return checks
}
