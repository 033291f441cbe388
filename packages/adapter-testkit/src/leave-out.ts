import type { AdapterTestOptions } from './setup.js'

/** The areas that are left out, by how their names begin. */
export class LeaveOut {
  readonly #starts: readonly string[]
  readonly #areas = new Set<string>()

  constructor({ leaveOut }: Pick<AdapterTestOptions, 'leaveOut'>) {
    const starts = leaveOut ?? process.env.HOLDFAST_TESTKIT_LEAVE_OUT?.split(';') ?? []
    this.#starts = starts.map((start) => start.trim()).filter((start) => start !== '')
  }

  has(area: string): boolean {
    this.#areas.add(area)
    return this.#starts.some((start) => area.startsWith(start))
  }

  /** @throws Error for a name that no area asked about begins with: it would leave out nothing, unheard */
  check(): void {
    const areas = [...this.#areas]
    const unknown = this.#starts.filter((start) => !areas.some((area) => area.startsWith(start)))
    if (unknown.length === 0) return
    throw new Error(
      `leaveOut has names that no area begins with: ${unknown.join(', ')}. The areas are: ${areas.join(', ')}`,
    )
  }
}
