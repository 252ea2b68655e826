/** Times of captures as text; UTC, nanoseconds where there are any. */

/**
 * `2025-01-02T03:04:05.678901Z`, with nine digits only where six do not say it. Undefined when no
 * calendar reaches so far, which a forged file can ask for.
 */
export function formatInstant(nanoseconds: bigint): string | undefined {
  const milliseconds = Number(nanoseconds / 1_000_000n)
  if (nanoseconds < 0n || milliseconds > LAST_MILLISECOND) return undefined
  const fraction = String(nanoseconds % 1_000_000_000n).padStart(9, '0')
  const seconds = new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, '')
  return `${seconds}.${fraction.endsWith('000') ? fraction.slice(0, 6) : fraction}Z`
}

/** Of the year 9999: later years are written with a sign and would not sort. */
const LAST_MILLISECOND = 253_402_300_799_999
