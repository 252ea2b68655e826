/**
 * The results as a picture: one panel per path and core, a group of bars per load, relative to VXLAN.
 * Plain SVG text, readable on light and dark pages. Pure.
 */
import { type Cell, type Results, ratio } from './results.js'

/** The whole file. Panels without a VXLAN measurement stay out. */
export function drawChart(results: Results): string {
  const panels = PATHS.flatMap((path) =>
    CORES.map((core) => ({
      path,
      core,
      cells: results.cells.filter(
        (cell) => cell.path === path && cell.core === core && cell.vxlan !== null,
      ),
    })),
  ).filter(({ cells }) => cells.length > 0)
  const rows = Math.max(1, Math.ceil(panels.length / COLUMNS))
  const [width, height] = [COLUMNS * PANEL_WIDTH + 40, rows * PANEL_HEIGHT + 110]
  const body = panels.map(({ path, core, cells }, index) => {
    const x = 30 + (index % COLUMNS) * PANEL_WIDTH
    const y = 70 + Math.floor(index / COLUMNS) * PANEL_HEIGHT
    return drawPanel(`${path}, ${CORE_WORDS[core]}`, cells, x, y)
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="30" y="28" font-size="17" fill="#222222">Delivered per CPU-second, relative to kernel VXLAN</text>`,
    `<text x="30" y="47" fill="#555555">${escapeXml(`${results.machine}, Linux ${results.kernel}, commit ${results.commit}`)}</text>`,
    ...body,
    drawLegend(30, height - 20),
    '</svg>',
    '',
  ].join('\n')
}

function drawPanel(title: string, cells: readonly Cell[], x: number, y: number): string {
  const plotHeight = PANEL_HEIGHT - 70
  const scale = (value: number): number => (Math.min(value, LARGEST) / LARGEST) * plotHeight
  const base = y + 20 + plotHeight
  const lines = [0.5, 1, 1.5, 2].map((value) => {
    const at = base - scale(value)
    const stroke = value === 1 ? 'stroke="#333333" stroke-dasharray="4 3"' : 'stroke="#dddddd"'
    return (
      `<line x1="${x + 24}" y1="${at}" x2="${x + PANEL_WIDTH - 20}" y2="${at}" ${stroke}/>` +
      `<text x="${x + 20}" y="${at + 4}" text-anchor="end" fill="#555555">${value}</text>`
    )
  })
  const groupWidth = (PANEL_WIDTH - 50) / Math.max(1, cells.length)
  const groups = cells.map((cell, index) => {
    const left = x + 28 + index * groupWidth
    const bars = barsOf(cell)
    const barWidth = Math.min(20, (groupWidth - 10) / bars.length)
    const drawn = bars.map(({ value, color }, bar) => {
      const at = left + 4 + bar * barWidth
      const tall = scale(value)
      const label = `<text x="${at + barWidth / 2}" y="${base - tall - 3}" text-anchor="middle" font-size="9" fill="#333333">${value.toFixed(2)}</text>`
      return `<rect x="${at}" y="${base - tall}" width="${barWidth - 2}" height="${tall}" fill="${color}"/>${label}`
    })
    const middle = left + 4 + (bars.length * barWidth) / 2
    return `${drawn.join('')}<text x="${middle}" y="${base + 15}" text-anchor="middle" fill="#222222">${cell.load}</text>`
  })
  return [
    `<text x="${x + 24}" y="${y + 8}" fill="#222222" font-size="13">${escapeXml(title)}</text>`,
    ...lines,
    `<line x1="${x + 24}" y1="${base}" x2="${x + PANEL_WIDTH - 20}" y2="${base}" stroke="#333333"/>`,
    ...groups,
  ].join('\n')
}

function barsOf({ godwit, vxlan, plain, rfc9305 }: Cell): { value: number; color: string }[] {
  return [
    { value: ratio(godwit, vxlan), color: COLORS.godwit },
    { value: ratio(rfc9305, vxlan), color: COLORS.rfc9305 },
    { value: ratio(plain, vxlan), color: COLORS.plain },
  ].flatMap(({ value, color }) => (value === undefined ? [] : [{ value, color }]))
}

function drawLegend(x: number, y: number): string {
  const entries = [
    { color: COLORS.godwit, text: 'Godwit' },
    { color: COLORS.rfc9305, text: 'Godwit, both peers speak RFC 9305' },
    { color: COLORS.plain, text: 'plain forwarding' },
    { color: '#333333', text: 'dashed line: VXLAN' },
  ]
  let at = x
  return entries
    .map(({ color, text }) => {
      const drawn = `<rect x="${at}" y="${y - 10}" width="12" height="12" fill="${color}"/><text x="${at + 17}" y="${y}" fill="#222222">${text}</text>`
      at += 40 + text.length * 6.5
      return drawn
    })
    .join('\n')
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')
}

const PATHS = ['v4/v4', 'v6/v4', 'v6/v6'] as const
const CORES = ['gso', 'mtu'] as const
const CORE_WORDS = { gso: 'super-packets cross the core', mtu: 'MTU-sized packets on the core' }
const COLUMNS = 2
const PANEL_WIDTH = 430
const PANEL_HEIGHT = 230
/** Bars end here; their labels still say the truth. */
const LARGEST = 2.2
const COLORS = { godwit: '#c4562a', rfc9305: '#e3a07f', plain: '#8a94a0' }
