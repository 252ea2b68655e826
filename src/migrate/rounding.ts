/** Figures as they are published: hundredths, and the middle one of many. Pure. */

/** To hundredths. */
export function round(value: number): number {
  return Math.round(value * 100) / 100
}

/** The median, null of nothing. */
export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted.length === 0 ? null : round(sorted[sorted.length >> 1]!)
}
