# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""The grammar behind the demo base model: short stories and everyday notes in plain English, written for Choir."""

GIRLS = ["Anna", "Mia", "Ella", "Ruth", "Nora", "Lucy", "Ivy", "Clara", "Rosa", "Hana", "Tess", "Maya", "Greta", "Zoe"]
BOYS = ["Tom", "Ben", "Max", "Leo", "Sam", "Otto", "Finn", "Jack", "Omar", "Hugo", "Niko", "Paul", "Theo", "Ravi"]
ANIMALS = ["fox", "rabbit", "bear", "mouse", "hedgehog", "squirrel", "frog", "duck", "owl", "badger", "goat", "otter"]

RULES = {
    "nice": ["kind", "brave", "clever", "happy", "cheerful", "gentle", "curious", "quiet", "funny", "busy", "shy",
             "friendly", "careful", "young"],
    "size": ["small", "little", "big", "tiny", "old", "new", "narrow", "wide", "heavy", "light", "plain", "pretty"],
    "build": ["small", "little", "big", "tiny", "fat", "thin", "young", "old", "quick", "slow", "noisy", "fluffy"],
    "color": ["red", "blue", "green", "yellow", "brown", "white", "black", "grey", "orange", "pink", "silver"],
    "weather": ["sunny", "rainy", "windy", "cold", "warm", "cloudy", "snowy", "foggy", "bright", "hot"],
    "time": ["morning", "afternoon", "evening", "day"],
    "season": ["spring", "summer", "autumn", "winter"],
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "number": ["two", "three", "four", "five", "six", "seven"],
    "place": ["park", "forest", "lake", "river", "beach", "market", "garden", "farm", "school", "village", "hill",
              "library", "bridge", "field", "harbour", "meadow"],
    "home": ["house", "cottage", "cabin", "farmhouse", "little house", "wooden house", "stone house"],
    "room": ["kitchen", "bedroom", "hall", "attic", "cellar", "shed", "barn"],
    "nature": ["river", "forest", "sea", "lake", "hills", "fields", "old oak", "mountains"],
    "family": ["mother", "father", "sister", "brother", "grandmother", "grandfather", "aunt", "uncle", "cousin"],
    "helper": ["the baker", "the farmer", "the teacher", "a sailor", "the old gardener", "a fisherman", "the postman",
               "the doctor", "the night watchman", "the miller", "a kind neighbour", "the captain", "the cook", "the shepherd", "the tailor", "the clock maker"],
    "toy": ["ball", "kite", "doll", "drum", "boat", "train", "puzzle", "bell", "lantern", "book", "whistle", "hat",
            "scarf", "key", "basket", "cup", "box", "coin",
            "rope", "map", "candle", "mirror", "spade", "bucket", "flag", "jar", "clock", "ring", "button", "wheel"],
    "food": ["bread", "soup", "cake", "apples", "pears", "cheese", "honey", "milk", "cookies", "berries", "carrots",
             "rice", "eggs", "nuts", "porridge", "plums"],
    "flavour": ["apple", "honey", "lemon", "plum", "cherry", "carrot", "nut", "ginger"],
    "plant": ["beans", "peas", "roses", "carrots", "tulips", "onions", "pumpkins", "strawberries", "sunflowers",
              "cabbages", "tomatoes", "herbs", "lilies", "potatoes", "radishes", "daisies"],
    "animal": ["dog", "cat", "bird", "horse", "cow", "sheep", "duck", "rabbit", "mouse", "fox", "goose", "hen", "pig",
               "goat", "owl", "robin", "crow", "donkey", "seal", "gull", "kitten", "puppy"],
    "spot": ["under the bed", "behind the door", "on the table", "in the tall grass", "near the gate", "under a tree",
             "by the window", "in the basket", "on the roof", "behind a stone", "next to the well", "under the bridge"],
    "hobby": ["read books", "sing songs", "paint pictures", "swim in the river", "climb trees", "play in the snow",
              "count the stars", "feed the birds", "build boats", "dig in the garden", "bake bread", "tell stories",
              "watch the ships"],
    "skill": ["ride a bike", "swim", "whistle", "tie a knot", "read a map", "bake bread", "skate on the ice",
              "play the flute", "row a boat", "light a fire", "write a letter"],
    "sound": ["a loud noise", "a soft knock", "a strange sound", "a low growl", "a small cry", "a bell", "footsteps"],
    "feel": ["happy", "proud", "glad", "very happy", "warm inside", "calm", "thankful"],
    "sad": ["sad", "worried", "tired", "cold", "hungry", "lonely", "afraid", "upset"],
    "moral": ["{hero} learned that it is good to share.", "{hero} learned that it is brave to ask for help.",
              "{hero} learned to be patient.", "from that day on, {hero} was always careful.",
              "{hero} never forgot that day.", "everyone was {feel}.", "{he} went home with a smile.",
              "that night {hero} slept well.", "and so they became good friends.", "it was the best {time} of the {season}.",
              "{hero} thanked everyone and went home.", "{his} {family} gave {him} a big hug."],
    "opening": ["once upon a time there was a {nice} {kind} named {hero}.",
                "{hero} was a {nice} {kind} who lived in a {size} {home} near the {nature}.",
                "there was once a {nice} {kind} called {hero}.",
                "once there lived a {kind} named {hero} who loved to {hobby}.",
                "in a {size} {home} by the {nature} lived a {nice} {kind} named {hero}.",
                "{hero} was a {kind}. {he} liked to {hobby}.",
                "a long time ago, a {nice} {kind} named {hero} lived near the {nature}."],
    "one_day": ["one {weather} {time},", "one {time} in {season},", "on {weekday},", "one day,", "early one {weather} morning,",
                "on a {weather} {time} in {season},"],
    "said": ["said", "asked", "whispered", "called", "shouted", "answered"],
}

# A story is an opening, one of these plots, and a closing moral.
PLOTS = {
    "lost": [
        ["{one_day} {hero} went to the {place:there} with {his} {color:c} {toy:t}.",
         "{one_day} {he} took {his} {color:c} {toy:t} to the {place:there}.",
         "{hero} had a {color:c} {toy:t} and took it to the {place:there} every day."],
        ["when {he} wanted to go home, the {t} was gone.", "but soon {he} could not find the {t}.",
         "{he} played all {time}, and then the {t} was lost."],
        ["{hero} was {sad} and began to look for it.", "{he} looked {spot}, but it was not there.",
         "{he} looked {spot} and {spot}, but found nothing.", "{hero} sat down and started to cry."],
        ["then {helper:h} came by. \"What is wrong?\" {h} asked.", "{helper:h} saw {him} and stopped to help.",
         "\"Please help me find my {t},\" {hero} said to {helper:h}."],
        ["together they found the {c} {t} {spot}.", "at last they saw the {t} {spot}.",
         "\"Look!\" said {h}. The {t} was {spot}.", "soon {h} found it {spot}."],
    ],
    "friend": [
        ["{one_day} {hero} walked to the {place} and met a {build:s} {animal:a}.",
         "{one_day} {he} saw a {build:s} {animal:a} {spot}."],
        ["the {a} was {sad:w}.", "the {a} looked {sad:w}.", "\"Why are you {sad:w}?\" asked {hero}."],
        ["\"I have no one to play with,\" said the {a}.", "\"I have lost my way home,\" said the {a}.",
         "\"I have had no food all day,\" said the {a}.", "\"I hurt my foot {spot},\" said the {a}."],
        ["{hero} gave the {a} some {food}.", "{hero} sat down next to the {a} and told a story.",
         "\"Come with me,\" said {hero}. They walked to the {nature} together.",
         "{hero} put a warm blanket around the {a}."],
        ["after that the {a} was not {w} any more.", "the {a} smiled and said, \"Thank you, {hero}.\"",
         "from then on the {a} came to visit every {weekday}."],
    ],
    "baking": [
        ["{one_day} {hero} wanted to bake a {flavour:f} cake with {his} {family:p}.",
         "{one_day} {his} {family:p} said, \"Let us bake some {flavour:f} bread.\"",
         "it was the birthday of {his} {family:p}, so {hero} made a {flavour:f} cake."],
        ["they took flour, sugar, butter and {number} eggs.", "they mixed flour and warm milk in a {size} bowl.",
         "{hero} washed {his} hands and put the flour on the table."],
        ["the dough was sticky, and {hero} laughed.", "{hero} stirred until {his} arms were tired.",
         "some flour fell on the floor, and the {animal} sneezed.", None],
        ["they put it in the hot oven and waited.", "it had to bake for a long time.",
         "the oven was hot, so {his} {p} helped {him}."],
        ["soon the whole {home} smelled sweet.", "it came out brown and soft.", "it tasted like {flavour} and honey."],
        ["they ate it with {food} and milk.", "they shared it with {helper}.", "{hero} gave the first piece to {his} {p}."],
    ],
    "garden": [
        ["in {season} {hero} planted {plant:v} in the garden.", "{one_day} {helper} gave {hero} seeds of {plant:v}.",
         "{hero} had a small garden with {plant:v} and {plant}."],
        ["{he} dug the soil and watered it every {time}.", "{he} put the seeds in the ground and waited.",
         "every morning {he} looked for green leaves."],
        ["for many days nothing grew.", "it did not rain for a week, and the ground was dry.",
         "a hungry {animal} came and ate some of the leaves.", "the wind was strong and broke the small stems."],
        ["{hero} built a little fence from sticks.", "{hero} carried water from the {nature}.",
         "\"Be patient,\" said {his} {family}.", "then the rain came, and everything was fresh again."],
        ["at last the {v} were tall and {color}.", "by {season} there were more {v} than {he} could count.",
         "one morning {he} saw the first {color} flower."],
    ],
    "boat": [
        ["{one_day} {hero} and {his} {family:p} went out in a {size} boat.",
         "{one_day} {hero} saw a {color} boat {spot} and wanted to sail."],
        ["the wind was soft and the water was {color}.", "they raised the {color} sail and left the harbour.",
         "{hero} sat in front and watched the waves."],
        ["then the sky turned dark and the waves grew big.", "suddenly the wind was strong and the boat rocked.",
         "a thick fog came over the water."],
        ["{hero} was {sad}, but {he} held the rope.", "\"Hold on!\" {said} {his} {family}.",
         "they saw a light on the shore and sailed to it.", "{helper} rang a bell on the shore."],
        ["in the end they reached the harbour.", "soon the storm was over and the sun came out.",
         "when they were home, they drank hot milk."],
    ],
    "night": [
        ["one dark night {hero} could not sleep.", "it was late, and {hero} lay in bed.",
         "one {weather} night {hero} woke up and saw that the candle was out."],
        ["{he} heard {sound} in the {room:r}.", "there was {sound} outside the window.",
         "{he} heard {sound:s}, and then it was quiet."],
        ["{hero} took a lantern and went to look.", "{hero} hid under the blanket.", "{hero} called {his} {family}.",
         "\"Who is there?\" {hero} whispered."],
        ["the door was open, and the moon was bright.", "{he} walked slowly down the stairs.", None],
        ["but it was only a {build} {animal} {spot}.", "it was only the wind in the trees.",
         "it was {helper}, who had lost a {toy}."],
        ["{hero} laughed and went back to bed.", "{hero} closed the door and was not afraid any more."],
    ],
    "learning": [
        ["{hero} could not {skill:k}, but {he} wanted to learn.", "all {his} friends could {skill:k}, but {hero} could not.",
         "{one_day} {hero} said, \"I want to {skill:k}.\""],
        ["{he} tried in the {time}, but it was too hard.", "the first time {he} fell down.",
         "{he} tried {number} times and was {sad}."],
        ["\"Try again,\" said {his} {family}.", "{helper} showed {him} how to do it.",
         "\"Slowly,\" said {helper}. \"You need time.\""],
        ["{hero} tried every day for a week.", "{he} went to the {place} to practise.", "day after day {he} got better."],
        ["on {weekday} {he} could do it.", "then, all at once, {he} could {k}.", "now {hero} can do it with closed eyes."],
    ],
    "sharing": [
        ["{one_day} {hero} had {number} {color} apples.", "{hero} had a basket full of {food:f}.",
         "{one_day} {his} {family} gave {him} some {food:f}."],
        ["at the {place} {he} met {friend}, who was hungry.", "{friend} had nothing to eat.",
         "{friend} came by and looked at the food."],
        ["at first {hero} did not want to share.", "\"May I have some?\" asked {friend}.",
         "{hero} thought about it for a while."],
        ["then {he} gave half of it to {friend}.", "\"Of course,\" said {hero}. \"There is enough for us.\"",
         "they sat down {spot} and ate together."],
        ["the next day {friend} brought a {color} {toy} for {hero}.", "{friend} said, \"You are a good friend.\"",
         "it tasted better than ever."],
    ],
    "mending": [
        ["{one_day} {hero} dropped {his} {toy:t}, and it broke.", "the {color} {toy:t} of {friend} was broken."],
        ["\"Oh no!\" said {hero}. \"What can we do?\"", "{hero} was {sad} and did not know what to do.",
         "{friend} was {sad}."],
        ["{he} took the pieces to {helper:h}.", "{his} {family} came with glue and a small hammer.",
         "they found some string and a nail in the {room}."],
        ["they worked on it the whole {time}.", "first they cleaned it, and then they put it together.",
         "it took {number} hours."],
        ["now the {t} was as good as new.", "in the end the {t} looked even better than before."],
    ],
    "market": [
        ["{one_day} {hero} went to the market to buy {food:f}.", "on {weekday} {his} {family} sent {him} to buy {food:f}."],
        ["{he} had {number} coins in {his} pocket.", "there were many people and a lot of {color} {plant}.",
         "the market was full of {food} and {plant}."],
        ["{hero} saw a {color} {toy:t} and wanted it too.", "a man was selling a {build} {animal}.",
         "{helper} said, \"Good morning, {hero}.\""],
        ["but {he} had only enough money for the {f}.", "{he} counted {his} coins again.",
         "\"How much is it?\" {he} asked."],
        ["{hero} bought the {f} and walked home.", "{helper} smiled and gave {him} a plum.",
         "{he} carried the {f} home in a {size} basket."],
    ],
}

# Short notes: plain facts, letters, plans, weather, talk.
NOTES = [
    [["dear {friend}, thank you for the {color} {toy}.", "dear {friend}, how are you? Here it is {weather}.",
      "dear {friend}, I am writing from the {place}."],
     ["I went to the {place} on {weekday} and saw a {animal}.", "my {family} made {food} and we ate {spot}.",
      "we planted {plant} in the garden.", "last night I heard {sound} near the {room}.",
      "I am learning to {skill}."],
     ["please visit us in {season}.", "please write to me soon.", "say hello to your {family}.",
      "I hope you are {feel}."],
     ["your friend, {hero}.", "with love from {hero}."]],
    [["today is {weekday}.", "it is {weather} today.", "this {time} it is {weather}."],
     ["the sky is {color} and the wind is strong.", "there is snow on the {nature}.", "the sun is over the {nature}.",
      "the rain came in the night."],
     ["we stay at home and {hobby}.", "I will go to the {place} with my {family}.", "the children play near the {place}.",
      "my {family} works in the {room}."],
     ["tomorrow we will {hobby}.", "in the evening we eat {food} and {food}.", None]],
    [["a {animal:a} is an animal.", "look at the {build} {animal:a}.", "the {animal:a} lives near the {nature}."],
     ["it has {number} young ones.", "it is {color} and {color}.", "it sleeps {spot}."],
     ["it likes to eat {food}.", "in {season} it looks for {food}.", "it is {nice} and {build}."],
     ["you can see it in the {place}.", "at night it comes to the {place}.", "children like the {a}."]],
    [["\"Good morning,\" said {hero}.", "\"Where are you going?\" asked {hero}.", "\"Look at the {color} {toy}!\" said {hero}."],
     ["\"I am going to the {place},\" said {friend}.", "\"Good morning,\" said {friend}. \"It is {weather} today.\"",
      "\"It is {spot},\" said {friend}."],
     ["\"May I come with you?\" asked {hero}.", "\"I will bring some {food},\" said {hero}.",
      "\"My {family} is in the {room},\" said {hero}."],
     ["\"Yes,\" said {friend}, \"but we must be {nice}.\"", "\"Then we can {hobby},\" said {friend}.",
      "they walked to the {nature} together."]],
    [["on {weekday} I get up early.", "every {time} I walk to the {place}.", "in {season} I like to {hobby}."],
     ["first I eat {food} and drink milk.", "first I look at the {plant} in the garden.", "first I feed the {animal}."],
     ["then I help my {family} in the {room}.", "then I go to the {place} and {hobby}.", "then {helper} comes to visit."],
     ["at night I read and go to bed.", "in the evening I am tired but {feel}.", "after that I {hobby}."]],
]


def _person(grammar, avoid):
    girl = grammar.chance(0.5)
    names = [name for name in (GIRLS if girl else BOYS) if name != avoid]
    words = ("she", "her", "her") if girl else ("he", "him", "his")
    return grammar.pick(names), "girl" if girl else "boy", words


def _context(grammar):
    hero, kind, (he, him, his) = _person(grammar, avoid="")
    if grammar.chance(0.35):
        kind = grammar.pick(ANIMALS)
    friend, _, _ = _person(grammar, avoid=hero)
    context = {"hero": hero, "kind": kind, "he": he, "him": him, "his": his, "friend": friend}
    # Said more than once, these would contradict each other.
    for rule in ("season", "time", "weather", "family", "toy"):
        context[rule] = grammar.pick(RULES[rule])
    return context


def make_text(grammar):
    """One story (four in five) or note."""
    context = _context(grammar)
    if grammar.chance(0.2):
        return grammar.compose(grammar.pick(NOTES), context)
    opening, moral = RULES["opening"], RULES["moral"]
    plot = PLOTS[grammar.pick(sorted(PLOTS))]
    return grammar.compose([opening, *plot, moral], context)
