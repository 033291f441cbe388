import { defineConfig } from 'vitest/config'
import { beeLegs, beeOn, coreOn, full, legs, moreBeeLegs, moreLegs } from './vitest.legs.js'

const core = (full ? [...legs, ...moreLegs] : legs).map(coreOn)
const bee = (full ? [...beeLegs, ...moreBeeLegs] : beeLegs).map(beeOn)

export default defineConfig({
  test: {
    projects: ['packages/!(core|bee-queue)', 'tooling/*', 'examples/*', ...core, ...bee],
    maxWorkers: 2,
  },
})
