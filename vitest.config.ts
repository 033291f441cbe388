import { defineConfig } from 'vitest/config'
import {
  beeLegs,
  beeOn,
  bossLegs,
  bossOn,
  bullmqLegs,
  bullmqOn,
  coreOn,
  full,
  graphileLegs,
  graphileOn,
  kitLegs,
  kitOn,
  legs,
  moreBeeLegs,
  moreBossLegs,
  moreBullmqLegs,
  moreGraphileLegs,
  moreKitLegs,
  moreLegs,
} from './vitest.legs.js'

const core = (full ? [...legs, ...moreLegs] : legs).map(coreOn)
const bee = (full ? [...beeLegs, ...moreBeeLegs] : beeLegs).map(beeOn)
const bullmq = (full ? [...bullmqLegs, ...moreBullmqLegs] : bullmqLegs).map(bullmqOn)
const graphile = (full ? [...graphileLegs, ...moreGraphileLegs] : graphileLegs).map(graphileOn)
const kit = (full ? [...kitLegs, ...moreKitLegs] : kitLegs).map(kitOn)
const boss = (full ? [...bossLegs, ...moreBossLegs] : bossLegs).map(bossOn)

export default defineConfig({
  test: {
    projects: [
      'packages/!(adapter-testkit|core|bee-queue|bullmq|graphile-worker|pg-boss)',
      'tooling/*',
      'examples/*/vitest.config.ts',
      ...core,
      ...kit,
      ...bee,
      ...bullmq,
      ...graphile,
      ...boss,
    ],
    maxWorkers: 2,
  },
})
