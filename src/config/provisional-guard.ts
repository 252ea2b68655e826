/**
 * How far before the first redirected packet copies are delivered when nobody says when the endpoint
 * of a live move has stopped.
 *
 * The source redirects when its hypervisor tells it of the stop, so the first redirect comes later than
 * the stop by as much as that news was late: measured 1 to 8 ms; our choice is 50 ms more than the guard.
 */
import type { Config } from './schema.js'

/** In ms. */
export function provisionalGuardMs({ mobility }: Pick<Config, 'mobility'>): number {
  return mobility.live.guardMs + LATE_NEWS_MS
}

const LATE_NEWS_MS = 50
