# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""The grammars behind the demo's four nodes: four people who write very different notes. Written for Choir."""

GARDENER = {
    "rules": {
        "month": ["March", "April", "May", "June", "July", "August", "September", "October"],
        "day": [str(day) for day in range(1, 31)],
        "bed": ["the south wall", "the pear tree", "the compost heap", "the greenhouse", "the old hedge", "the water butt",
                "the cold frame", "the rhubarb"],
        "crop": ["broad beans", "peas", "leeks", "beetroot", "spinach", "radishes", "carrots", "onions", "kale",
                 "pumpkins", "potatoes", "parsnips"],
        "flower": ["foxgloves", "lavender", "sweet peas", "marigolds", "tulips", "dahlias", "poppies", "snowdrops"],
        "pest": ["slugs", "snails", "greenfly", "pigeons", "caterpillars", "earwigs"],
        "visitor": ["robin", "blackbird", "toad", "wren", "hedgehog", "bumblebee"],
        "soil": ["soft and dark", "heavy with clay", "dry as dust", "warm at last", "full of worms", "still frozen"],
        "much": ["two rows", "one row", "half a bed", "a tray", "a handful"],
        "job": ["tie up the {crop}", "thin the {crop}", "turn the compost", "sharpen the spade", "prune the pear tree",
                "mulch the {flower}", "clean the greenhouse glass", "net the {crop}", "earth up the potatoes"],
    },
    "beats": [
        ["Garden diary, {month} {day}."],
        ["Rain in the night, and the soil is {soil}.", "No rain for a week, the soil is {soil}.",
         "A mild morning, the soil is {soil}.", "Frost on the grass, the soil is {soil}.", "Mist until noon, the soil is {soil}."],
        ["Sowed {much} of {crop:a} by {bed}.", "Planted out {much} of {crop:a} beside {bed}.",
         "Lifted {much} of {crop:a} near {bed}.", "Weeded the {crop:a} along {bed}."],
        ["The {pest} have been at the {crop} again.", "Picked {pest} off the {flower} by hand.",
         "Put ash around the {crop} against the {pest}.", None],
        ["The {flower} by {bed} are in bloom.", "First buds on the {flower}.", "Cut back the {flower} and took cuttings."],
        ["The {visitor} kept me company.", "A {visitor} watched me dig.", "Saw the {visitor} under {bed}.", None],
        ["Must {job} tomorrow.", "Tomorrow I will {job}.", "Still have to {job}."],
    ],
}

SAILOR = {
    "rules": {
        "number": [str(day) for day in range(2, 60)],
        "ship": ["Grey Heron", "Morning Star", "Saint Brigid", "Northern Light"],
        "compass": ["north", "northwest", "west", "southwest", "south", "southeast", "east", "northeast"],
        "strength": ["light", "fresh", "strong", "rising", "falling", "a full gale"],
        "sea": ["heavy swell", "smooth sea", "short steep waves", "long rolling swell", "white caps all round", "choppy sea"],
        "sail": ["mainsail", "foresail", "topsail", "jib", "storm jib"],
        "work": ["reefed the {sail}", "set the {sail}", "mended the {sail}", "pumped the bilge", "scrubbed the deck",
                 "spliced the anchor cable", "greased the rudder", "checked the cargo lashings"],
        "hour": ["at dawn", "at noon", "at eight bells", "in the dog watch", "before midnight"],
        "sight": ["a lighthouse", "a whale", "a fishing fleet", "dolphins", "a dark coast", "drifting ice", "a steamer",
                  "two gulls"],
        "side": ["off the port bow", "off the starboard bow", "dead ahead", "astern", "to leeward"],
        "mate": ["the bosun", "the mate", "the cook", "the cabin boy", "the carpenter"],
        "meal": ["salt beef", "pea soup", "ship's biscuit", "fried cod", "strong coffee"],
    },
    "beats": [
        ["Ship's log, day {number}."],
        ["Wind {compass}, {strength}, {sea}.", "Wind {compass} and {strength}.", "No wind, {sea}, sails slack."],
        ["Course {compass} by {compass}, {number} miles made.", "Held our course {compass}, {number} miles.",
         "Hove to and waited, drifting {compass}."],
        ["The crew {work} {hour}.", "{hour} we {work}.", "We {work} and {work}."],
        ["Sighted {sight} {side}.", "{hour} {mate} sighted {sight} {side}.", "Sounded {number} fathoms, sand and shell.", None],
        ["{mate:m} has a bad tooth.", "{mate:m} played the fiddle.", "{mate} served {meal}.", "Fresh water for {number} days.", None],
        ["All hands well.", "All hands well aboard the {ship}.", "Lamps lit, all hands well.", "Two men sick, the rest well."],
    ],
}

BAKER = {
    "rules": {
        "bake": ["rye rolls", "oat bread", "honey buns", "plum tart", "cheese scones", "seed loaf", "cinnamon twists",
                 "potato bread", "almond biscuits", "onion pie"],
        "amount": ["one cup", "two cups", "half a cup", "three spoons", "200 grams", "500 grams"],
        "splash": ["one cup", "two cups", "half a cup", "three spoons", "a jug", "a splash"],
        "dry": ["strong flour", "rye flour", "oat flakes", "brown sugar", "sea salt", "dried yeast", "baking powder",
                "ground almonds", "poppy seeds"],
        "wet": ["warm milk", "melted butter", "cold water", "beaten egg", "runny honey", "buttermilk", "olive oil"],
        "vessel": ["a large bowl", "a greased tin", "a floured cloth", "the stone trough", "a copper pan"],
        "minutes": ["ten", "fifteen", "twenty", "thirty", "forty", "fifty"],
        "heat": ["160", "180", "200", "220", "240"],
        "sign": ["golden on top", "hollow when tapped", "springy to the touch", "dark at the edges", "doubled in size"],
        "finish": ["Brush with {wet}", "Dust with {dry}", "Sprinkle with {dry}", "Cool on a wire rack", "Slice while warm"],
    },
    "beats": [
        ["Recipe for {bake:b}."],
        ["Sift {amount} of {dry} and {amount} of {dry} into {vessel}.", "Mix {amount} of {dry} with a pinch of {dry}.",
         "Put {amount} of {dry} in {vessel}."],
        ["Stir in {splash} of {wet}.", "Pour in {splash} of {wet} and {splash} of {wet}.", "Work in {splash} of {wet}."],
        ["Knead for {minutes} minutes until smooth.", "Fold gently, do not knead.", "Beat until the batter falls off the spoon.",
         "Knead again and shape by hand."],
        ["Cover and let it rise for {minutes} minutes.", "Rest the dough for {minutes} minutes until {sign}.",
         "Leave overnight in {vessel}.", None],
        ["Bake at {heat} degrees for {minutes} minutes until {sign}.", "Bake in a hot oven for {minutes} minutes, then turn.",
         "Bake at {heat} degrees until {sign}."],
        ["{finish} and serve the {b}.", "{finish}.", "{finish}, and keep the {b} in a tin."],
    ],
}

NIGHT_WATCH = {
    "rules": {
        "hour": ["ten", "eleven", "twelve", "one", "two", "three", "four", "five"],
        "post": ["north gate", "south gate", "mill lane", "chapel yard", "grain store", "river stairs", "town hall",
                 "tannery row"],
        "state": ["all quiet", "nothing to report", "all shut and barred", "one lamp out", "fog, cannot see the wall"],
        "door": ["chapel door", "cellar hatch", "armoury door", "side gate", "warehouse door", "toll house"],
        "found": ["locked", "unlocked and secured it", "bolted from inside", "ajar, and called the keeper", "sealed"],
        "person": ["a drunken piper", "the miller's boy", "two strangers", "the widow Marsh", "a carter", "the priest"],
        "doing": ["asleep on the steps", "without a lantern", "quarrelling", "going home late", "looking for a lost dog"],
        "act": ["sent them home", "took their names", "let them pass", "gave them a light", "warned them once"],
        "noise": ["glass breaking", "a dog barking", "footsteps on the roof", "a cart without lights", "shouting"],
        "cause": ["a cat", "the wind", "a loose shutter", "boys, who ran off", "nothing found"],
        "keeper": ["Bram", "Osric", "Hilda", "old Perrin", "Sergeant Coyle"],
    },
    "beats": [
        ["Watch report, {hour} o'clock, {post}."],
        ["Post {state}.", "{post}: {state}.", "Walked the round, {state}."],
        ["Tried the {door}: {found}.", "Found the {door} {found}.", "Checked the {door} and the {door}: {found}."],
        ["Met {person} {doing}, {act}.", "Stopped {person} {doing}, {act}.", None],
        ["Heard {noise} near {post}. Cause: {cause}.", "Report of {noise} at {post}. Cause: {cause}.", None],
        ["Lantern oil low.", "Lantern trimmed.", "Keys counted, none missing.", "Rang the {hour} o'clock bell.", None],
        ["Relieved by {keeper}.", "{keeper} takes the next round.", "Signed, {keeper}."],
    ],
}

# Folder name of the node -> its voice.
VOICES = {"gardener": GARDENER, "sailor": SAILOR, "baker": BAKER, "night-watch": NIGHT_WATCH}
